"""A page of shared memory that the service's processes read and write without asking each other.

Each cell has one writer at a time, so no lock is needed: a front end writes its own row, a device worker its
own, the supervisor the rest, and the rows of processes that are gone. (Two front ends may ask for a reload at
once, and one count may be lost: then both wait for the same one.) Readers may see a value a moment old.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

LOADING_S = 300.0  # before its first heartbeat a worker may take so long
SILENT_S = 3.0  # a ready worker that shows no life for so long is not counted on
REMEMBERED = 0.9  # of the known pace after another picture


class Board:
    """Counts of pictures in flight and signs of life; times are seconds of :func:`time.monotonic`."""

    def __init__(self, cells: np.ndarray[Any, Any]) -> None:
        # plain arrays of each column: a memory map makes an object of its own class at every look
        self._cells = cells = np.asarray(cells)
        self._front_ends = cells["front_ends"]
        self._admitted = self._front_ends["admitted"]
        self._decoding = self._front_ends["decoding"]
        self._workers = cells["workers"]
        self._begun = self._workers["begun"]
        self._paces = self._workers["picture_s"]
        self._heartbeats = self._workers["heartbeat"]
        self._largest_batches = self._workers["largest_batch"]

    @staticmethod
    def _layout(front_ends: int, workers: int) -> np.dtype[Any]:
        return np.dtype(
            [
                ("started", np.float64),
                ("draining", np.int64),
                ("restarts", np.int64),
                ("reloads_asked", np.int64),
                ("reloading", np.int64),
                ("reloads_made", np.int64),
                ("reloads_refused", np.int64),
                (
                    "front_ends",
                    [("admitted", np.int64), ("decoding", np.int64), ("heartbeat", np.float64)],
                    (front_ends,),
                ),
                (
                    "workers",
                    [
                        ("heartbeat", np.float64),
                        ("busy_since", np.float64),
                        ("picture_s", np.float64),
                        ("largest_batch", np.int64),
                        ("reload_step", np.int64),
                        ("begun", np.int64, (front_ends,)),
                    ],
                    (workers,),
                ),
            ]
        )

    @classmethod
    def private(cls) -> Board:
        """A board for one process with one worker: tests, and runners that need no worker processes."""
        return cls(np.zeros((), cls._layout(1, 1)))._begin()

    @classmethod
    def create(cls, path: Path, front_ends: int, workers: int) -> Board:
        return cls(np.memmap(path, cls._layout(front_ends, workers), mode="w+", shape=()))._begin()

    @classmethod
    def attach(cls, path: Path, front_ends: int, workers: int) -> Board:
        return cls(np.memmap(path, cls._layout(front_ends, workers), mode="r+", shape=()))

    def _begin(self) -> Board:
        self._cells["started"] = time.monotonic()
        return self

    @property
    def age_s(self) -> float:
        """Seconds since the service started."""
        return time.monotonic() - float(self._cells["started"])

    @property
    def draining(self) -> bool:
        return bool(self._cells["draining"])

    def drain(self) -> None:
        self._cells["draining"] = 1

    @property
    def restarts(self) -> int:
        """Device workers restarted since the start."""
        return int(self._cells["restarts"])

    def count_restart(self) -> None:
        self._cells["restarts"] += 1

    def ask_for_reload(self) -> None:
        self._cells["reloads_asked"] += 1

    @property
    def reloads_asked(self) -> int:
        return int(self._cells["reloads_asked"])

    @property
    def reloading(self) -> bool:
        return bool(self._cells["reloading"])

    def begin_reload(self) -> None:
        self._cells["reloading"] = 1

    def end_reload(self, made: bool) -> None:
        self._cells["reloads_made" if made else "reloads_refused"] += 1
        self._cells["reloading"] = 0

    @property
    def reloads(self) -> tuple[int, int]:
        """Since the start: reloads made, and refused."""
        return int(self._cells["reloads_made"]), int(self._cells["reloads_refused"])

    def reload_step(self, worker: int) -> int:
        """How far the worker is with a reload: what it last gave to :meth:`set_reload_step`."""
        return int(self._workers["reload_step"][worker])

    def set_reload_step(self, worker: int, step: int) -> None:
        self._workers["reload_step"][worker] = step

    @property
    def admitted(self) -> int:
        """Pictures admitted and not yet answered, over all front ends."""
        return sum(self._admitted.tolist())

    @property
    def decoding(self) -> int:
        """Pictures being decoded at this moment, over all front ends."""
        return sum(self._decoding.tolist())

    def add_admitted(self, front_end: int, change: int) -> None:
        self._admitted[front_end] += change

    def is_asked(self, front_end: int) -> bool:
        """Whether the front end has admitted pictures that are not answered yet."""
        return bool(self._admitted[front_end])

    def add_decoding(self, front_end: int, change: int) -> None:
        self._decoding[front_end] += change

    def forget_front_end(self, front_end: int) -> None:
        """Its process is gone, and with it what it had admitted."""
        self._front_ends[front_end] = (0, 0, 0.0)

    def beat_front_end(self, front_end: int) -> None:
        self._front_ends["heartbeat"][front_end] = time.monotonic()

    def front_end_heartbeat(self, front_end: int) -> float:
        """When the front end last showed life; 0 before it first did."""
        return float(self._front_ends["heartbeat"][front_end])

    def beat(self, worker: int) -> None:
        self._workers["heartbeat"][worker] = time.monotonic()

    def set_busy(self, worker: int, busy: bool) -> None:
        self._workers["busy_since"][worker] = time.monotonic() if busy else 0.0

    def set_begun(self, worker: int, front_end: int, picture: int) -> None:
        """The worker has put a front end's pictures up to that one into batches; 0: none of them yet."""
        self._begun[worker, front_end] = picture

    def begun(self, worker: int, front_end: int) -> int:
        """The last of a front end's pictures that the worker put into a batch; stays when that dies."""
        return int(self._begun[worker, front_end])

    def forget_worker(self, worker: int) -> None:
        """A new process takes its place: what the old one wrote no longer holds, and it has time to load."""
        self._workers["busy_since"][worker] = 0.0
        self._workers["heartbeat"][worker] = time.monotonic() + LOADING_S

    def heartbeat(self, worker: int) -> float:
        """When the worker last showed life, or in how long it must have."""
        return float(self._heartbeats[worker])

    def busy_since(self, worker: int) -> float:
        """When the worker's present batch began; 0 when idle."""
        return float(self._workers["busy_since"][worker])

    def silence_s(self, worker: int) -> float:
        """Seconds since the worker's last heartbeat; negative while it has time to load."""
        return time.monotonic() - self.heartbeat(worker)

    @property
    def worker_states(self) -> list[str]:
        """Of each worker ``loading``, ``ready`` or, when it shows no life, ``silent``."""
        silences = [self.silence_s(worker) for worker in range(len(self._workers))]
        return ["loading" if s < 0 else "ready" if s <= SILENT_S else "silent" for s in silences]

    def busy_s(self, worker: int) -> float:
        """Seconds that the worker has been at its present batch; 0 when idle."""
        since = self.busy_since(worker)
        return time.monotonic() - since if since else 0.0

    def record_pace(self, worker: int, seconds: float, pictures: int) -> None:
        """Fold one batch into the worker's moving average of seconds a picture.

        Each picture counts the same: a full batch, which says how fast a queue moves, weighs more than a
        single picture that was slow for whatever reason.
        """
        cell = self._workers[worker]
        kept = REMEMBERED**pictures if cell["picture_s"] else 0.0
        cell["picture_s"] = kept * cell["picture_s"] + (1 - kept) * seconds / pictures
        cell["largest_batch"] = max(cell["largest_batch"], pictures)

    def knows_pace(self, worker: int) -> bool:
        return bool(self._paces[worker])

    @property
    def queue_s(self) -> float:
        """Seconds until the pictures that are in will have been captioned; 0 before the first batch."""
        return self._queue_s(self._known_paces())

    @property
    def arrival_s(self) -> float:
        """Seconds until a picture that comes now will have been captioned; 0 before the first batch.

        It waits for those before it, and then for its whole batch, to which later ones belong.
        """
        paces = self._known_paces()
        if not paces:
            return 0.0
        batch = min(max(self._largest_batches.tolist()), self.admitted / len(paces) + 1)
        return self._queue_s(paces) + batch * max(paces)

    def _queue_s(self, paces: list[float]) -> float:
        rate = sum(1 / pace for pace in paces)
        return self.admitted / rate if rate else 0.0

    def _known_paces(self) -> list[float]:
        """Seconds a picture takes each worker that is ready; each that ever was, if none is."""
        paces, now = self._paces.tolist(), time.monotonic()
        beats = self._heartbeats.tolist()
        ready = [pace for pace, beat in zip(paces, beats, strict=True) if 0 <= now - beat <= SILENT_S]
        return [pace for pace in ready or paces if pace]
