"""The runner of the real service: device workers in processes of their own, reached over ZeroMQ."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.utils.monitor import parse_monitor_message

from model.errors import InferenceError
from service.board import SILENT_S, Board
from service.channel import Channel
from service.errors import CheckpointRefused, DeadlinePassed, NotReady, ReloadRunning, WorkerLost
from service.messages import (
    Answered,
    Cancel,
    Failed,
    Hello,
    Ready,
    Stale,
    Submit,
    ToWorker,
    decode_to_front_end,
    encode,
)
from service.reload import reload_by
from service.runner import Inference, ModelChanged, ModelInfo, State

RECONNECT_MS = 20

log = logging.getLogger("captioner.remote")


class RemoteRunner:
    """Implements :class:`service.runner.Runner` over one :class:`Link` per device worker."""

    def __init__(self, addresses: Sequence[str], board: Board, front_end: int, patience_s: float) -> None:
        """
        :param front_end: this process's row on the board
        :param patience_s: a worker that takes longer over one batch is not counted on
        """
        self._context = zmq.Context()
        self._board = board
        self._patience_s = patience_s
        self._changed = asyncio.Event()
        self._links = [
            Link(self._context, address, self._changed, front_end, partial(board.begun, worker, front_end))
            for worker, address in enumerate(addresses)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(link.run()) for link in self._links]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._context.destroy(linger=0)

    @property
    def state(self) -> State:
        if any(not self._stalled(index) for index, _ in self._ready()):
            return "ok"
        return "loading" if self.model is None else "unavailable"

    @property
    def model(self) -> ModelInfo | None:
        links = sorted(self._links, key=lambda link: not link.ready)  # of those that are not, what they had
        return next((link.model for link in links if link.model), None)

    @property
    def devices(self) -> list[str]:
        return [link.model.device for _, link in self._ready() if link.model]

    def _ready(self) -> list[tuple[int, Link]]:
        return [(index, link) for index, link in enumerate(self._links) if link.ready]

    async def reload(self) -> None:
        """See :meth:`service.runner.Runner.reload`."""
        if self._board.reloading:
            raise ReloadRunning("the checkpoint is being loaded already")
        try:
            made = await reload_by(self._board)
        except TimeoutError:
            raise NotReady("the checkpoint was not loaded in time") from None
        if not made:
            raise CheckpointRefused(
                "the checkpoint cannot be used; the log says why, and what ran before runs on"
            )

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        """See :meth:`service.runner.Runner.caption`. A picture whose worker died is sent once more.

        One that was in the batch which died may be what killed it: the second time it runs alone.
        """
        link = await self._least_loaded(identity, deadline)
        try:
            return await link.submit(pixels, identity, beam, deadline, alone=False)
        except WorkerLost as lost:
            suspect = isinstance(lost, WorkerLostInBatch)
        link = await self._least_loaded(identity, deadline)
        try:
            return await link.submit(pixels, identity, beam, deadline, alone=suspect)
        except DeadlinePassed:
            raise WorkerLost("the device worker died and no time was left to try again") from None

    async def _least_loaded(self, identity: str, deadline: float) -> Link:
        while not (ready := self._ready()):
            self._changed.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                raise WorkerLost("no device worker came back in time") from None
        able = [(index, link) for index, link in ready if identity in link.identities]
        if not able:
            raise ModelChanged
        # A stalled worker is the last choice, but it may be the only one.
        return min(able, key=lambda entry: (self._stalled(entry[0]), entry[1].load))[1]

    def _stalled(self, worker: int) -> bool:
        return self._board.silence_s(worker) > SILENT_S or self._board.busy_s(worker) > self._patience_s


class WorkerLostInBatch(WorkerLost):
    """The worker died while it ran this picture's batch."""


class Link:
    """The connection to one device worker, made anew whenever the worker is."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        changed: asyncio.Event,
        front_end: int,
        begun: Callable[[], int],
    ) -> None:
        """:param begun: the last of our pictures that the worker has put into a batch"""
        self._context = context
        self._address = address
        self._changed = changed
        self._hello = encode(Hello(front_end))
        self._begun = begun
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Inference]] = {}
        self._channel: Channel | None = None
        self.ready = False
        self.model: ModelInfo | None = None
        """What the worker runs, or ran last; None until one has been ready."""
        self.identities: set[str] = set()
        """Of the models that it can run: around a reload, those before and after."""

    @property
    def load(self) -> int:
        """Pictures sent and not yet answered."""
        return len(self._waiting)

    async def run(self) -> None:
        """Keep connected until cancelled."""
        while True:
            # A fresh socket each time: an old one would hand what it still holds to the next worker.
            socket = self._context.socket(zmq.DEALER)
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.SNDHWM, 0)
            socket.set(zmq.RCVHWM, 0)
            socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
            lost = asyncio.Event()
            monitor = Channel(
                socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED),
                partial(self._take_event, lost),
            )
            self._channel = Channel(socket, self._take)
            socket.connect(self._address)
            try:
                await lost.wait()
            finally:
                socket.disable_monitor()
                self._channel.close()
                monitor.close()
                self._lose_worker()

    def _take_event(self, lost: asyncio.Event, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)["event"]
        if event == zmq.EVENT_DISCONNECTED:
            lost.set()
        elif event == zmq.EVENT_CONNECTED and self._channel:
            self._channel.send([self._hello])

    def _lose_worker(self) -> None:
        self.ready = False
        self.identities.clear()
        self._channel = None
        waiting, self._waiting = self._waiting, {}
        if waiting:
            log.warning("a device worker died with %d pictures: they are sent once more", len(waiting))
        begun = self._begun()
        for job_id, future in waiting.items():
            error = WorkerLostInBatch if job_id <= begun else WorkerLost
            if not future.done():
                future.set_exception(error("the device worker died with this picture"))

    def _take(self, frames: list[bytes]) -> None:
        message = decode_to_front_end(frames[0])
        if isinstance(message, Ready):
            self.model, self.ready = message.model, True
            self.identities.add(message.model.identity)
            self._changed.set()
            return
        future = self._waiting.get(message.id)
        if future is None or future.done():
            return
        match message:
            case Answered() as answer:
                result = Inference(answer.captions, answer.queue_s, answer.inference_s, answer.batch_size)
                future.set_result(result)
            case Failed(_, detail, expired):
                future.set_exception(DeadlinePassed(detail) if expired else InferenceError(detail))
            case Stale():
                future.set_exception(ModelChanged())

    async def submit(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float, alone: bool
    ) -> Inference:
        """Send one picture and wait for its captions; a caller that gives up takes it out of the queue.

        :raises ModelChanged: the worker has no such model any more
        :raises WorkerLost: the worker died first
        :raises DeadlinePassed: no answer by ``deadline``
        :raises InferenceError: the network failed on this picture
        """
        job_id = next(self._ids)
        future = self._waiting[job_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                submit = Submit(job_id, identity, beam, deadline, time.monotonic(), alone)
                self._send(submit, pixels.data.cast("B"))
                return await future
        except ModelChanged:
            self.identities.discard(identity)
            raise
        except TimeoutError:
            raise DeadlinePassed("no caption in time") from None
        finally:
            self._waiting.pop(job_id, None)
            if not future.done() or future.cancelled():
                with contextlib.suppress(zmq.ZMQError, WorkerLost):
                    self._send(Cancel(job_id))

    def _send(self, message: ToWorker, *frames: memoryview) -> None:
        if self._channel is None:
            raise WorkerLost("the device worker is gone")
        self._channel.send([encode(message), *frames])
