"""The device worker: a process that holds the model.

One thread takes in what front ends send, runs batches and answers: handing a picture from thread to thread
costs more than what waits meanwhile in the socket. Others show signs of life and follow the supervisor's
orders; a closed standard input means that it is gone or wants this process gone.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
import zmq

from model.config import EngineName, Precision
from model.errors import CheckpointError
from service.batching import BatchQueue, Job, Reason
from service.board import Board
from service.engine import Batch, Engine
from service.errors import START_REFUSED
from service.logs import set_up_logging
from service.messages import (
    Answered,
    Cancel,
    Failed,
    Hello,
    Ready,
    Stale,
    Submit,
    ToFrontEnd,
    decode_to_worker,
    encode,
)
from service.metrics import Metrics
from service.models import Model, Models, load_model
from service.reload import IN_USE, LOADED, REFUSED, Order
from service.rest import Rest
from service.settings import SettingsError

HEARTBEAT_S = 0.2
LOOK_S = 0.2  # at most, until a model that was loaded beside is taken over by a worker without work

log = logging.getLogger("captioner.worker")


class WorkerSpec(msgspec.Struct, frozen=True):
    """All a worker needs to know; its supervisor writes it as one JSON line on standard input."""

    index: int
    device: str
    checkpoint: str
    engine: EngineName
    precision: Precision
    max_batch_size: int
    request_timeout: float
    address: str
    board: str
    front_ends: int
    workers: int
    log_format: str
    log_level: str


class Worker:
    """One device, its queue, and the socket that front ends reach it by."""

    queue: BatchQueue

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.board = Board.attach(Path(spec.board), spec.front_ends, spec.workers)
        self.metrics = Metrics()
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.set(zmq.SNDHWM, 0)
        self.socket.set(zmq.RCVHWM, 0)  # admission bounds what is in flight
        self.socket.bind(spec.address)
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.models = Models(self._load, spec.request_timeout)
        self.clients: dict[bytes, int] = {}  # which front end is at the other end of a connection
        self.waiting_for_ready: set[bytes] = set()
        self.switching = threading.Event()
        self.under_way = 0  # batches on the device, and when the last one before them ended
        self.finished = 0.0

    def run(self) -> NoReturn:
        """Serve until the process ends."""
        try:
            self._serve()
        except CheckpointError as error:
            _refuse(f"checkpoint {self.spec.checkpoint}: {error}")
        except SettingsError as error:
            _refuse(str(error))
        except BaseException:
            log.exception("the device worker cannot go on")
        os._exit(1)

    def _serve(self) -> NoReturn:
        engine = self.models.begin().engine
        if not self.board.knows_pace(self.spec.index):
            self._measure_pace(engine, engine.sizes[-1])
        self.queue = BatchQueue(
            engine.sizes[-1], lambda: self.board.decoding, self._say_expired, self._take_in, engine.in_parts
        )
        self.models.use()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        log.info("worker ready on %s", engine.device)
        self.queue.serve(self._begin, self._finish, engine.overlaps)

    def _beat(self) -> None:
        rest = Rest(HEARTBEAT_S)
        while True:
            self.board.beat(self.spec.index)
            rest.look(self.board.busy_since(self.spec.index) > 0)
            time.sleep(HEARTBEAT_S)

    def _take_in(self, seconds: float | None) -> None:
        """Wait for messages, at most so long and not for ever, and do as they say."""
        wait_s = LOOK_S if seconds is None else min(LOOK_S, seconds)
        if self.poller.poll(math.ceil(1000 * wait_s)):
            with suppress(zmq.Again):
                while True:
                    self._receive(*self.socket.recv_multipart(zmq.DONTWAIT, copy=False))
        self._say_ready()
        self.models.forget_past()

    def _say_ready(self) -> None:
        """Tell who has not heard of the present model; a reload has ended only when all front ends have."""
        if switching := self.switching.is_set():
            self.switching.clear()
            self.waiting_for_ready |= self.clients.keys()
        assert self.models.present
        while self.waiting_for_ready:
            self._send(self.waiting_for_ready.pop(), Ready(self.models.present.info))
        if switching:
            self.board.set_reload_step(self.spec.index, IN_USE)

    def _receive(self, client: zmq.Frame, header: zmq.Frame, *frames: zmq.Frame) -> None:
        message = decode_to_worker(header.buffer)
        match message:
            case Hello(front_end):
                self.clients[client.bytes] = front_end
                self.board.set_begun(self.spec.index, front_end, 0)
                self.waiting_for_ready.add(client.bytes)
            case Submit() if client.bytes in self.clients:
                job = Job(
                    client=client.bytes,
                    id=message.id,
                    identity=message.identity,
                    beam=message.beam,
                    deadline=message.deadline,
                    alone=message.alone,
                    pixels=frames[0].buffer,
                    queued_at=message.sent,
                )
                self.queue.put(job)
            case Cancel():
                self.queue.cancel(client.bytes, message.id)

    def _send(self, client: bytes, message: ToFrontEnd) -> None:
        self.socket.send_multipart([client, encode(message)])

    def _say_expired(self, job: Job) -> None:
        self._send(job.client, Failed(job.id, "the deadline passed while the picture waited", expired=True))

    def _begin(self, jobs: list[Job], reason: Reason) -> list[Batch]:
        self.metrics.observe_batch(len(jobs), reason)
        for job in jobs:
            self.board.set_begun(self.spec.index, self.clients[job.client], job.id)
        batches = []
        for identity in {job.identity for job in jobs}:  # two of them only around a reload
            part = [job for job in jobs if job.identity == identity]
            if engine := self.models.get(identity):
                started = time.monotonic()
                self.under_way += 1
                outcomes = engine.begin(part, lambda: self.board.set_busy(self.spec.index, True))
                batches.append(Batch(part, started, outcomes))
            else:
                for job in part:
                    self._send(job.client, Stale(job.id))
        return batches

    def _finish(self, batches: list[Batch]) -> None:
        for batch in batches:
            self._finish_batch(batch)

    def _finish_batch(self, batch: Batch) -> None:
        outcomes = batch.outcomes()
        now = time.monotonic()
        self.under_way -= 1
        seconds = now - batch.started
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            message: ToFrontEnd
            if isinstance(outcome, str):
                message = Failed(job.id, outcome, expired=False)
            else:
                message = Answered(job.id, outcome, batch.started - job.queued_at, seconds, len(batch.jobs))
            self._send(job.client, message)
        self.board.set_busy(self.spec.index, self.under_way > 0)
        # What was begun while another batch was on the device had it to itself only from then on.
        self.board.record_pace(self.spec.index, now - max(batch.started, self.finished), len(batch.jobs))
        self.finished = now

    def _load(self) -> Model:
        spec = self.spec
        checkpoint = Path(spec.checkpoint)
        return load_model(checkpoint, spec.device, spec.engine, spec.precision, spec.max_batch_size)

    def obey(self, order: Order) -> None:
        """Called on a thread of its own, so that what runs goes on meanwhile."""
        if order.do == "load":
            self.board.set_reload_step(self.spec.index, LOADED if self.models.load_beside() else REFUSED)
        elif order.do == "use":
            self.models.use()
            self.switching.set()
        else:
            self.models.drop()

    def _measure_pace(self, engine: Engine, size: int) -> None:
        """Time one full batch, so that already a first burst is admitted by what the device can do."""
        pixels = memoryview(bytes(3 * engine.config.preprocessing.image_size**2))
        blank = Job(b"", 0, "", beam=1, deadline=math.inf, alone=False, pixels=pixels, queued_at=0.0)
        started = time.monotonic()
        engine.run([blank] * size, lambda: None)
        self.board.record_pace(self.spec.index, time.monotonic() - started, size)


def _refuse(reason: str) -> None:
    print(f"captioner: {reason}", file=sys.stderr, flush=True)
    os._exit(START_REFUSED)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # the supervisor says when: by closing standard input
        signal.signal(number, signal.SIG_IGN)
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerSpec)
    set_up_logging(spec.log_format, spec.log_level)
    worker = Worker(spec)
    threading.Thread(target=_follow_supervisor, args=[worker], name="lifeline", daemon=True).start()
    worker.run()


def _follow_supervisor(worker: Worker) -> None:
    """Do as it says, one order after the other, until it is gone."""
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def obey() -> None:
        while True:
            worker.obey(orders.get())

    threading.Thread(target=obey, name="orders", daemon=True).start()
    for line in sys.stdin.buffer:
        orders.put(msgspec.json.decode(line, type=Order))
    os._exit(0)


if __name__ == "__main__":
    main()
