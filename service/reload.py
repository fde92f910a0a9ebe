"""Changing the model under load: every device worker loads the checkpoint folder anew beside what it runs;
then all of them take it over, or none does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from service.board import LOADING_S, Board

LOOK_S = 0.05
LOADED, REFUSED, IN_USE = 1, 2, 3  # what a worker writes on the board, after 0

log = logging.getLogger("captioner")


class Order(msgspec.Struct, frozen=True):
    """Supervisor → worker, a JSON line on its standard input."""

    do: Literal["load", "use", "drop"]


class WorkerProcess(Protocol):
    """What a reload needs of :class:`service.supervisor.Child`."""

    @property
    def pid(self) -> int | None: ...

    def tell(self, order: Order) -> None: ...


class Reloader:
    """The supervisor's part."""

    def __init__(self, board: Board, workers: Sequence[WorkerProcess]) -> None:
        self._board = board
        self._workers = workers

    async def run(self) -> None:
        """See to reloads as they are asked for, until cancelled."""
        seen = 0
        while True:
            await asyncio.sleep(LOOK_S)
            if (asked := self._board.reloads_asked) != seen:
                seen = asked
                self._board.begin_reload()
                made = False
                try:
                    made = await self._reload()
                finally:
                    self._board.end_reload(made)

    async def _reload(self) -> bool:
        log.info("loading the checkpoint anew")
        pids = [worker.pid for worker in self._workers]
        for index, worker in enumerate(self._workers):
            self._board.set_reload_step(index, 0)
            worker.tell(Order("load"))
        if not await self._all_at(LOADED, pids):
            for worker in self._workers:
                worker.tell(Order("drop"))
            log.error("the checkpoint was not taken over: what ran before runs on")
            return False
        for worker in self._workers:
            worker.tell(Order("use"))
        await self._all_at(IN_USE, pids)  # one that dies now comes back with the same checkpoint
        log.info("the new checkpoint is in use")
        return True

    async def _all_at(self, step: int, pids: list[int | None]) -> bool:
        """Wait until every worker has got so far; False if one cannot."""
        end = time.monotonic() + LOADING_S
        while time.monotonic() < end:
            steps = [self._board.reload_step(index) for index in range(len(self._workers))]
            if all(reached == step for reached in steps):
                return True
            if REFUSED in steps or [worker.pid for worker in self._workers] != pids:
                return False
            await asyncio.sleep(LOOK_S)
        return False


async def reload_by(board: Board) -> bool:
    """A front end's part: ask for a reload and wait for its end; False if it was refused.

    :raises TimeoutError: nobody has seen to it
    """
    before = board.reloads
    board.ask_for_reload()
    async with asyncio.timeout(2 * LOADING_S):
        while board.reloads == before:  # noqa: ASYNC110 - another process counts them
            await asyncio.sleep(LOOK_S)
    return board.reloads[0] > before[0]
