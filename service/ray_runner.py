"""The runner of the service on Ray: reaches the models' replicas through a deployment handle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from model.errors import InferenceError
from service.errors import DeadlinePassed, NotReady, WorkerLost
from service.ray_model import Outcome
from service.runner import Inference, ModelChanged, ModelInfo, State

LOOK_S = 1.0  # between two looks at whether a replica is there
RETRY_S = 0.1
PATIENCE_S = 5.0  # a look that takes longer has found none

log = logging.getLogger("captioner.ray")


class RayRunner:
    """Implements :class:`service.runner.Runner` over replicas of :class:`service.ray_model.ModelReplica`."""

    def __init__(self, replicas: DeploymentHandle) -> None:
        self._replicas = replicas
        self._model: ModelInfo | None = None
        self._there = False
        self._heard = 0.0

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking

    @property
    def state(self) -> State:
        if self._there:
            return "ok"
        return "loading" if self._model is None else "unavailable"

    @property
    def model(self) -> ModelInfo | None:
        return self._model

    @property
    def devices(self) -> list[str]:
        return [self._model.device] if self._there and self._model else []

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    self._model = await self._replicas.model.remote()
                self._there, self._heard = True, time.monotonic()
            except (Exception, asyncio.CancelledError) as error:
                if _cancelled():
                    raise
                silent_s = time.monotonic() - self._heard
                if self._there and silent_s > PATIENCE_S:  # where captions come, replicas are only busy
                    log.warning("no replica of the model answers: %s", type(error).__name__)
                    self._there = False
            await asyncio.sleep(LOOK_S)

    async def reload(self) -> None:
        """See :meth:`service.runner.Runner.reload`."""
        raise NotReady("on Ray a new model comes by deploying the application again")

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        """See :meth:`service.runner.Runner.caption`. A picture whose replica died is sent once more, to be
        captioned alone: it may be what killed it."""
        try:
            outcome = await self._ask(pixels, identity, beam, deadline, alone=False)
        except ReplicaLost as lost:
            log.warning("a picture's replica is gone, it is sent once more: %r", lost.__cause__)
            try:
                await self._until_one_answers(deadline)
                outcome = await self._ask(pixels, identity, beam, deadline, alone=True)
            except DeadlinePassed:
                raise WorkerLost("the model's replica died and no time was left to try again") from None
        if isinstance(outcome, Inference):
            self._heard = time.monotonic()
            return outcome
        match outcome.reason:
            case "stale":
                self._model = outcome.model
                raise ModelChanged
            case "expired":
                raise DeadlinePassed(outcome.detail)
            case "failed":
                raise InferenceError(outcome.detail)

    async def _until_one_answers(self, deadline: float) -> None:
        """Ray goes on sending to a replica for a moment after it has died.

        :raises DeadlinePassed: none answered by then
        """
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                while True:
                    try:
                        await self._replicas.model.remote()
                        return
                    except (RayError, RayServeException, asyncio.CancelledError):
                        if _cancelled():
                            raise
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            raise DeadlinePassed("no replica of the model came back in time") from None

    async def _ask(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float, alone: bool
    ) -> Outcome:
        """
        :raises DeadlinePassed: no answer by then
        :raises ReplicaLost: its process or its machine is gone
        """
        left_s = deadline - time.monotonic()
        response = self._replicas.caption.remote(pixels, identity, beam, left_s, alone)
        try:
            async with asyncio.timeout(left_s):
                outcome: Outcome = await response
                return outcome
        except TimeoutError:
            response.cancel()
            raise DeadlinePassed("no caption in time") from None
        except RayTaskError as error:  # the replica is there, and raised
            log.exception("a replica failed")
            raise InferenceError("the model failed on this picture") from error
        except (RayError, RayServeException) as error:
            raise ReplicaLost("the model's replica died with this picture") from error
        except asyncio.CancelledError as error:
            if not _cancelled():  # Ray says so of a call whose replica is gone
                raise ReplicaLost("the model's replica died with this picture") from error
            response.cancel()
            raise


def _cancelled() -> bool:
    """Whether somebody cancelled this task, and not Ray the call that it waits for."""
    task = asyncio.current_task()
    return bool(task and task.cancelling())


class ReplicaLost(WorkerLost):
    """The replica died with the picture."""
