"""A front-end process: uvicorn on the listening socket that the supervisor opened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvicorn

from service.app import create_app
from service.board import Board
from service.edge import server_config
from service.logs import set_up_logging
from service.remote import RemoteRunner
from service.rest import Rest
from service.settings import Settings
from service.tracing import Tracing, provider_of_environment, wanted

HEARTBEAT_S = 0.2


class FrontEndSpec(msgspec.Struct, frozen=True):
    """All a front end needs to know; its supervisor writes it as one JSON line on standard input."""

    index: int
    socket_fd: int
    settings: dict[str, object]
    board: str
    addresses: list[str]


class Server(uvicorn.Server):
    """Uvicorn that leaves signals alone: at a stop it goes on listening until accepted work has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: collections need not look at it again

    async def drain(self, timeout_s: float) -> None:
        """Answer what has been accepted, for at most ``timeout_s``, then stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while tasks := self.server_state.tasks:  # new ones may come while these end
                    await asyncio.wait(tasks)
        self.should_exit = True


async def serve(spec: FrontEndSpec) -> None:
    settings = Settings.model_validate(spec.settings)
    board = Board.attach(Path(spec.board), settings.http_workers, len(spec.addresses))
    runner = RemoteRunner(spec.addresses, board, spec.index, settings.request_timeout)
    tracing = Tracing(provider_of_environment()) if wanted() else None
    server = Server(server_config(create_app(settings, runner, board, spec.index, tracing=tracing)))
    drains: list[asyncio.Task[None]] = []

    def start_drain() -> None:
        if not drains:
            drains.append(asyncio.create_task(server.drain(settings.drain_timeout)))

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, start_drain)
    loop.add_reader(sys.stdin.fileno(), os._exit, 1)  # closed: the supervisor is gone
    beating = asyncio.create_task(_beat(board, spec.index))
    await server.serve(sockets=[socket.socket(fileno=spec.socket_fd)])
    beating.cancel()


async def _beat(board: Board, front_end: int) -> None:
    """Show life for as long as the event loop goes round."""
    rest = Rest(HEARTBEAT_S)
    while True:
        board.beat_front_end(front_end)
        rest.look(board.is_asked(front_end))
        await asyncio.sleep(HEARTBEAT_S)


def main() -> None:
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=FrontEndSpec)
    set_up_logging(str(spec.settings["log_format"]), str(spec.settings["log_level"]))
    with asyncio.Runner(loop_factory=uvicorn.Config(app="", log_config=None).get_loop_factory()) as runner:
        runner.run(serve(spec))


if __name__ == "__main__":
    main()
