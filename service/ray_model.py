"""The device worker of the service on Ray: a deployment whose replicas hold a model each."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.batching import BatchQueue, Job, Reason
from service.engine import Batch, Engine
from service.logs import set_up_logging
from service.models import load_model
from service.runner import Inference, ModelInfo
from service.settings import Settings

HANG_MARGIN_S = 1.0  # a hung replica is replaced once the requests it holds have passed their deadline

log = logging.getLogger("captioner.ray")


class Refusal(msgspec.Struct, frozen=True):
    """Why a picture got no caption here."""

    reason: Literal["stale", "expired", "failed"]
    detail: str
    model: ModelInfo
    """What this replica runs."""


Outcome = Inference | Refusal


class ModelReplica:
    """One device, its queue, and the thread that runs batches; on Ray it is the deployment ``Model``.

    Ray's own batching takes what waits for a busy device apart into batches before the device is free; the
    service's queue forms a batch when it is (:mod:`service.batching`).
    """

    def __init__(self, settings: Settings) -> None:
        """
        :raises CheckpointError: see :func:`model.checkpoint.load`
        :raises SettingsError: see :class:`service.engine.Engine`
        """
        set_up_logging(settings.log_format, settings.log_level)
        self._settings = settings
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._busy_since = 0.0
        self._under_way = 0  # batches on the device
        loaded: Future[tuple[ModelInfo, BatchQueue]] = Future()
        threading.Thread(target=self._serve_batches, args=[loaded], name="model", daemon=True).start()
        self._model, self._queue = loaded.result()

    def model(self) -> ModelInfo:
        """What this replica runs."""
        return self._model

    def check_health(self) -> None:
        """Called by Ray, which replaces a replica whose check raises."""
        busy_since = self._busy_since
        if busy_since and time.monotonic() - busy_since > self._settings.request_timeout + HANG_MARGIN_S:
            raise RuntimeError("a batch takes longer than any request may")

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, left_s: float, alone: bool
    ) -> Outcome:
        """Caption one picture. Cancelling the call takes it out of the queue.

        :param pixels: uint8 [S, S, 3]
        :param identity: of the model they were decoded for
        :param left_s: seconds until the deadline; clocks of two machines cannot be compared
        :param alone: in a batch of its own
        """
        if identity != self._model.identity:
            return Refusal("stale", "", self._model)
        now = time.monotonic()
        job = Job(b"", next(self._ids), identity, beam, now + left_s, alone, pixels.data.cast("B"), now)
        future = self._waiting[job.id] = asyncio.get_running_loop().create_future()
        self._queue.put(job)
        try:
            return await future
        finally:
            del self._waiting[job.id]
            if future.cancelled():
                self._queue.cancel(job.client, job.id)

    def _serve_batches(self, loaded: Future[tuple[ModelInfo, BatchQueue]]) -> None:
        settings = self._settings
        try:
            engine, model = load_model(
                settings.checkpoint,
                settings.device[0],
                settings.network_engine,
                settings.precision,
                settings.max_batch_size,
            )
        except BaseException as error:
            loaded.set_exception(error)
            return
        queue = BatchQueue(engine.sizes[-1], lambda: 0, self._expire, in_parts=engine.in_parts)
        loaded.set_result((model, queue))
        try:
            queue.serve(partial(self._begin, engine), self._finish, engine.overlaps)
        except BaseException:
            log.exception("the device cannot go on")
            os._exit(1)  # Ray starts another

    def _begin(self, engine: Engine, jobs: list[Job], reason: Reason) -> Batch:
        started = time.monotonic()
        self._under_way += 1
        return Batch(jobs, started, engine.begin(jobs, self._attempt))

    def _finish(self, batch: Batch) -> None:
        outcomes = batch.outcomes()
        now = time.monotonic()
        self._under_way -= 1
        self._busy_since = now if self._under_way else 0.0
        seconds = now - batch.started
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            if isinstance(outcome, str):
                self._answer(job, Refusal("failed", outcome, self._model))
            else:
                inference = Inference(outcome, batch.started - job.queued_at, seconds, len(batch.jobs))
                self._answer(job, inference)

    def _attempt(self) -> None:
        self._busy_since = time.monotonic()

    def _expire(self, job: Job) -> None:
        self._answer(job, Refusal("expired", "the deadline passed while the picture waited", self._model))

    def _answer(self, job: Job, outcome: Outcome) -> None:
        if future := self._waiting.get(job.id):
            future.get_loop().call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
