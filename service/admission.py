"""Admission: each picture counts from before it is decoded until it is answered, up to the limit."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from service.board import Board
from service.errors import NotReady, QueueFull
from service.metrics import Metrics
from service.runner import Runner

NOT_READY_RETRY_S = 2


class Admission:
    """Says who may come in. With several front ends the limit may be passed by one picture for each other."""

    def __init__(self, board: Board, front_end: int, limit: int, runner: Runner, metrics: Metrics) -> None:
        self._board = board
        self._front_end = front_end
        self.limit = limit
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
        :raises QueueFull: as many pictures are in as may be
        """
        if (state := self.state) != "ok":
            self._metrics.rejected.labels(state).inc()
            raise NotReady(f"the service is {state}", {"Retry-After": str(NOT_READY_RETRY_S)})
        self._check_room()

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for one picture.

        :raises QueueFull: there is none
        """
        self._check_room()
        self._board.add_admitted(self._front_end, 1)
        try:
            yield
        finally:
            self._board.add_admitted(self._front_end, -1)

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Let the device workers know that one more picture is about to reach them."""
        self._board.add_decoding(self._front_end, 1)
        try:
            yield
        finally:
            self._board.add_decoding(self._front_end, -1)

    def _check_room(self) -> None:
        if self.depth >= self.limit:
            self._metrics.rejected.labels("queue-full").inc()
            # By then the pictures that are in now will have been answered, at the present pace.
            retry_s = max(1, math.ceil(self.depth * self._board.picture_s))
            raise QueueFull(
                f"{self.limit} pictures are waiting already; try again in {retry_s} s",
                {"Retry-After": str(retry_s)},
            )
