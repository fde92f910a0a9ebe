"""The parent process: opens the port, starts device workers and front ends, replaces those that die.

It imports neither PyTorch nor the HTTP stack. Its children die with it: each holds the reading end of a pipe
that only the supervisor writes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from model.errors import CaptionerError
from service.board import Board
from service.errors import START_REFUSED
from service.reload import Order, Reloader
from service.settings import Settings
from service.stillness import CHECK_S, Stillness

BACKLOG = 2048
STOP_GRACE_S = 3.0
HANG_MARGIN_S = 1.0  # a hung process is replaced once the requests it holds have passed their deadline
MAX_BACKOFF_S = 5.0

log = logging.getLogger("captioner")


class StartError(CaptionerError):
    """The service cannot start; the message says why in one line."""

    code = "start"


@dataclass
class Child:
    """One of the supervisor's processes: how to start it, and the one that runs now."""

    name: str
    module: str
    spec: dict[str, object]
    prepare: Callable[[], None]
    """Called before each start and after each end: what a gone process left on the board no longer holds."""
    descriptors: tuple[int, ...] = ()
    process: asyncio.subprocess.Process | None = None

    async def run(self, metrics: Path) -> int:
        """Start the process, hand it its specification and wait for its end; returns its exit code."""
        self.prepare()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder named "model" where the user happens to stand is not ours
            "-m",
            self.module,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=self.descriptors,
            process_group=0,  # a signal to our group is ours to handle: children stop when we say so
            env={
                **os.environ,
                "PROMETHEUS_MULTIPROC_DIR": str(metrics),
                "MALLOC_ARENA_MAX": "2",
            },
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(self.spec) + b"\n")
        code = await self.process.wait()
        self.prepare()
        _drop_empty_metrics(metrics, self.process.pid)
        return code

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def tell(self, order: Order) -> None:
        if self.process and self.process.stdin and not self.process.stdin.is_closing():
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")

    def terminate(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.terminate()

    def hang_up(self) -> None:
        """Close its standard input, which tells it to leave."""
        if self.process and self.process.stdin:
            self.process.stdin.close()

    def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()


class Supervisor:
    """Runs one service from start to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.directory = Path(tempfile.mkdtemp(prefix="captioner-"))
        board = self.directory / "board"
        self.metrics = self.directory / "metrics"
        self.metrics.mkdir()
        self.board = Board.create(board, settings.http_workers, len(settings.device))
        self.addresses = [f"ipc://{self.directory}/worker-{i}" for i in range(len(settings.device))]
        self.stopping = asyncio.Event()
        self.failed = False
        self.workers: list[Child] = []
        self.front_ends: list[Child] = []

    async def run(self) -> int:
        """Serve until a signal; returns the exit code.

        :raises StartError: the port cannot be opened
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        # to a service in a terminal it says that the terminal is gone
        loop.add_signal_handler(
            signal.SIGHUP, self.stopping.set if os.isatty(0) else self.board.ask_for_reload
        )
        try:
            with listen(self.settings) as listener:
                log.info("listening on http://%s:%d", self.settings.host, listener.getsockname()[1])
                await self._serve(listener)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
        return 1 if self.failed else 0

    async def _serve(self, listener: socket.socket) -> None:
        self.workers = [self._worker(index) for index in range(len(self.settings.device))]
        self.front_ends = [self._front_end(index, listener) for index in range(self.settings.http_workers)]
        worker_keepers = [asyncio.create_task(self._keep(child)) for child in self.workers]
        worker_keepers.append(asyncio.create_task(self._replace_silent_workers()))
        worker_keepers.append(asyncio.create_task(Reloader(self.board, self.workers).run()))
        front_end_keepers = [asyncio.create_task(self._keep(child)) for child in self.front_ends]
        front_end_keepers.append(asyncio.create_task(self._replace_silent_front_ends()))
        await self.stopping.wait()
        if not self.failed:
            log.info("stopping: what has been accepted is answered first")
        self.board.drain()
        await _cancel(front_end_keepers)
        for child in self.front_ends:
            child.terminate()
        await self._see_off(self.front_ends, self.settings.drain_timeout + STOP_GRACE_S)
        await _cancel(worker_keepers)  # until now a worker that died was still needed, and replaced
        for child in self.workers:
            child.hang_up()
        await self._see_off(self.workers, STOP_GRACE_S)

    async def _see_off(self, children: list[Child], patience_s: float) -> None:
        """Wait for processes to end; those that have not by then are killed."""
        ends = [asyncio.create_task(child.process.wait()) for child in children if child.process]
        if ends:
            await asyncio.wait(ends, timeout=patience_s)
        for child in children:
            child.kill()

    def _worker(self, index: int) -> Child:
        settings = self.settings
        spec = {
            "index": index,
            "device": settings.device[index],
            "checkpoint": str(settings.checkpoint),
            "engine": settings.network_engine,
            "precision": settings.precision,
            "max_batch_size": settings.max_batch_size,
            "request_timeout": settings.request_timeout,
            "address": self.addresses[index],
            "board": str(self.directory / "board"),
            "front_ends": settings.http_workers,
            "workers": len(settings.device),
            "log_format": settings.log_format,
            "log_level": settings.log_level,
        }
        prepare = partial(self.board.forget_worker, index)
        return Child(f"worker-{index}", "service.worker", spec, prepare)

    def _front_end(self, index: int, listener: socket.socket) -> Child:
        spec = {
            "index": index,
            "socket_fd": listener.fileno(),
            "settings": self.settings.model_dump(mode="json"),
            "board": str(self.directory / "board"),
            "addresses": self.addresses,
        }
        prepare = partial(self.board.forget_front_end, index)
        return Child(f"front-end-{index}", "service.frontend", spec, prepare, (listener.fileno(),))

    async def _keep(self, child: Child) -> None:
        """Run a child process; start it again whenever it ends, later and later if it ends at once."""
        backoff_s = 0.0
        while True:
            started = time.monotonic()
            try:
                code = await child.run(self.metrics)
            except OSError as error:  # no descriptor, no memory: there may be some in a moment
                log.error("%s cannot be started: %s", child.name, error.strerror)
                code = -1
            if code == START_REFUSED and child in self.workers and not self.board.restarts:
                self.failed = True
                self.stopping.set()
                return
            log.error("%s ended with code %d: a new one is started", child.name, code)
            if child in self.workers:
                self.board.count_restart()
            quick = time.monotonic() - started < MAX_BACKOFF_S
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2 or 0.1) if quick else 0.0
            await asyncio.sleep(backoff_s)

    async def _replace_silent_workers(self) -> None:
        """Kill a worker that shows no life, or is at one batch, for as long as any request may take."""
        signs = [(Stillness(), Stillness()) for _ in self.workers]
        while True:
            await asyncio.sleep(CHECK_S)
            for index, (alive, busy) in enumerate(signs):
                loading = self.board.silence_s(index) < 0
                heartbeat = 0.0 if loading else self.board.heartbeat(index)
                silent_s = max(alive.look(heartbeat), busy.look(self.board.busy_since(index)))
                if self._replace_if_silent(self.workers[index], silent_s):
                    self.board.forget_worker(index)

    async def _replace_silent_front_ends(self) -> None:
        """The same for front ends, whose event loops show life: before their first sign they may load."""
        signs = [Stillness() for _ in self.front_ends]
        while True:
            await asyncio.sleep(CHECK_S)
            for index, alive in enumerate(signs):
                silent_s = alive.look(self.board.front_end_heartbeat(index))
                if self._replace_if_silent(self.front_ends[index], silent_s):
                    self.board.forget_front_end(index)

    def _replace_if_silent(self, child: Child, silent_s: float) -> bool:
        if silent_s <= self.settings.request_timeout + HANG_MARGIN_S:
            return False
        log.error("%s has shown no life for %.1f s: it is replaced", child.name, silent_s)
        child.kill()  # its keeper starts another
        return True


def _drop_empty_metrics(metrics: Path, pid: int) -> None:
    """Remove what a process killed before its first count left: nobody could read the others' beside it."""
    for file in metrics.glob(f"*_{pid}.db"):
        if not file.stat().st_size:
            file.unlink()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def listen(settings: Settings) -> socket.socket:
    """The socket that front ends accept on.

    :raises StartError: something else has the port, or there is no such address here
    """
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise StartError(f"cannot listen on --host {host} --port {port}: {reason}") from None


def serve(settings: Settings) -> int:
    """Run the service; returns the exit code.

    :raises StartError: it cannot start
    """
    try:
        supervisor = Supervisor(settings)
    except OSError as error:
        raise StartError(f"the folder for temporary files cannot be used: {error.strerror}") from None
    return asyncio.run(supervisor.run())
