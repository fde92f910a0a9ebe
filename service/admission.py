"""Admission: each picture counts from before it is decoded until it is answered, up to the limit."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

from service.board import Board
from service.errors import NotReady, QueueFull
from service.metrics import Metrics
from service.runner import Runner
from service.settings import Settings

NOT_READY_RETRY_S = 2
TIME_SHARE = 0.8  # of what a request has left may go by its estimate; the pace may change meanwhile
UPLOADS_IN_MEMORY = 36  # of the largest size allowed, in one front end: one request of 32 pictures, and some


class Admission:
    """Says who may come in. With several front ends the limit may be passed by one picture for each other."""

    def __init__(
        self, settings: Settings, board: Board, front_end: int, runner: Runner, metrics: Metrics
    ) -> None:
        self._board = board
        self._front_end = front_end
        self.limit = settings.max_queue
        self._request_timeout = settings.request_timeout
        self._upload_room = UPLOADS_IN_MEMORY * settings.max_upload_bytes  # bytes
        self._runner = runner
        self._metrics = metrics

    @property
    def depth(self) -> int:
        """Pictures admitted and not yet answered, over all front ends."""
        return self._board.admitted

    @property
    def state(self) -> str:
        """``ok``, ``loading``, ``draining`` or ``unavailable``."""
        return "draining" if self._board.draining else self._runner.state

    def check(self) -> None:
        """Turn a request away before its body is read, if none of its pictures could come in.

        :raises NotReady: loading, draining or without a worker
        :raises QueueFull: as many pictures are in as may be, or as can be captioned in time
        """
        if (state := self.state) != "ok":
            self._metrics.rejected.labels(state).inc()
            raise NotReady(f"the service is {state}", {"Retry-After": str(NOT_READY_RETRY_S)})
        self._check_room(self._request_timeout)

    @contextlib.contextmanager
    def admit(self, deadline: float) -> Iterator[None]:
        """Hold a place for one picture.

        :param deadline: of its request, in seconds of :func:`time.monotonic`
        :raises QueueFull: there is none, or it would come too late
        """
        self._check_room(deadline - time.monotonic())
        self._board.add_admitted(self._front_end, 1)
        try:
            yield
        finally:
            self._board.add_admitted(self._front_end, -1)

    @contextlib.contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """Hold memory for one request's upload; gives a function that takes so many bytes more.

        :raises QueueFull: by that function, when this front end holds as many bytes as it may
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._upload_room:
                self._metrics.rejected.labels("upload-memory").inc()
                retry = {"Retry-After": str(NOT_READY_RETRY_S), "Connection": "close"}
                raise QueueFull("too many uploads at the same time; try again", retry)
            self._upload_room -= count
            taken += count

        try:
            yield take
        finally:
            self._upload_room += taken

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Let the device workers know that one more picture is about to reach them."""
        self._board.add_decoding(self._front_end, 1)
        try:
            yield
        finally:
            self._board.add_decoding(self._front_end, -1)

    def _check_room(self, left_s: float) -> None:
        depth = self.depth
        if depth >= self.limit:
            reason, why = "queue-full", ""
        elif depth and self._board.arrival_s > TIME_SHARE * left_s:
            reason, why = "too-slow", ", which takes longer than this request may"
        else:
            return
        self._metrics.rejected.labels(reason).inc()
        # By then the pictures that are in now will have been answered, at the present pace.
        retry_s = max(1, math.ceil(self._board.queue_s))
        raise QueueFull(
            f"{depth} pictures are waiting already{why}; try again in {retry_s} s",
            {"Retry-After": str(retry_s)},
        )
