"""The device worker's queue: which pictures go into the next batch, and when it leaves.

A batch leaves as soon as the device is idle. At saturation the queue refills by itself, so waiting buys
nothing; at low load it taxes everyone. The one exception: a partial batch is held a moment while pictures
that are already admitted are still being decoded.

Where a device runs batches in parts of powers of two, a batch that is not full has such a size: a picture
more would cost more than it does in the next batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Literal, NoReturn, TypeVar

import msgspec

HOLD_S = 0.01  # decoding a photograph takes less

Begun = TypeVar("Begun")
Reason = Literal["full", "idle", "waited", "alone"]


class Job(msgspec.Struct):
    """One picture in the queue. ``pixels`` is its uint8 bytes [S, S, 3]; times as :func:`time.monotonic`."""

    client: bytes
    id: int
    identity: str
    beam: int
    deadline: float
    alone: bool
    pixels: memoryview
    queued_at: float


def batch_sizes(largest: int) -> list[int]:
    """What is warmed up, and has graphs: 1, 2, 4, … ``largest``."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return sizes if largest == 1 else [*sizes, largest]


class BatchQueue:
    """Jobs in order of arrival. One thread puts and cancels, another takes batches; or one does it all."""

    def __init__(
        self,
        largest: int,
        decoding: Callable[[], int],
        on_expired: Callable[[Job], None],
        take_in: Callable[[float | None], None] | None = None,
        in_parts: bool = False,
    ) -> None:
        """
        :param largest: jobs in a batch
        :param decoding: how many admitted pictures are being decoded right now
        :param on_expired: told of each job that is dropped because its deadline has passed
        :param take_in: where no other thread puts jobs, waits for some, for at most so many seconds, and does
        :param in_parts: see :class:`model.captioner.Network`
        """
        self._largest = largest
        self._decoding = decoding
        self._on_expired = on_expired
        self._take_in = take_in
        self._in_parts = in_parts
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def cancel(self, client: bytes, job_id: int) -> None:
        """Take a job out if it is still waiting."""
        with self._changed:
            kept = [job for job in self._jobs if (job.client, job.id) != (client, job_id)]
            self._jobs = deque(kept)

    def next_batch(self) -> tuple[list[Job], Reason]:
        """Wait for the next batch: live jobs, oldest first."""
        hold_until: float | None = None
        with self._changed:
            self._look()
            while True:
                self._drop_expired()
                if not self._jobs:
                    hold_until = None
                    self._wait(None)
                elif self._jobs[0].alone:
                    return [self._jobs.popleft()], "alone"
                elif len(self._jobs) >= self._largest:
                    return self._take(), "full"
                elif hold_until is None and self._decoding():
                    hold_until = time.monotonic() + HOLD_S
                elif hold_until is None or not self._decoding():
                    return self._take(), "idle"
                elif (left := hold_until - time.monotonic()) > 0:
                    self._wait(left)
                else:
                    return self._take(), "waited"

    def full_batch(self) -> list[Job]:
        """The next batch if there is a full one, without waiting for it; else nothing."""
        with self._changed:
            self._look()
            self._drop_expired()
            first = list(islice(self._jobs, self._largest))
            if len(first) < self._largest or any(job.alone for job in first):
                return []
            return self._take()

    def serve(
        self, begin: Callable[[list[Job], Reason], Begun], finish: Callable[[Begun], None], overlaps: bool
    ) -> NoReturn:
        """Take batches for ever.

        :param begin: starts a batch; ``finish`` waits for its end
        :param overlaps: a full batch is begun already while the one before is under way; one that is not yet
            full fills up meanwhile
        """
        while True:
            under_way = begin(*self.next_batch())
            while overlaps and (jobs := self.full_batch()):
                following = begin(jobs, "full")
                finish(under_way)
                under_way = following
            finish(under_way)

    def _look(self) -> None:
        """Have in what has come while the device was busy."""
        if self._take_in:
            self._take_in(0.0)

    def _wait(self, seconds: float | None) -> None:
        if self._take_in:
            self._take_in(seconds)
        else:
            self._changed.wait(seconds)

    def _take(self) -> list[Job]:
        run = 0
        while run < min(len(self._jobs), self._largest) and not self._jobs[run].alone:
            run += 1
        if self._in_parts and run < self._largest:
            run = 1 << (run.bit_length() - 1)
        return [self._jobs.popleft() for _ in range(run)]

    def _drop_expired(self) -> None:
        now = time.monotonic()
        expired = [job for job in self._jobs if job.deadline <= now]
        if expired:
            self._jobs = deque(job for job in self._jobs if job.deadline > now)
        for job in expired:
            self._on_expired(job)
