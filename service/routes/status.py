"""``/health``, ``/metrics`` and ``/model``: how the service is, and what it runs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter, Response
from starlette.requests import Request

from model.errors import InferenceError
from service.errors import NotReady, WorkerLost
from service.metrics import CONTENT_TYPE
from service.openapi import HEAD_PROBLEMS, RETRY_AFTER, problems
from service.schemas import HEALTH_EXAMPLE, Card, Health, Liveness, ModelName, Queue
from service.state import state_of

VERSION = version("captioner")

router = APIRouter(tags=["status"], responses=HEAD_PROBLEMS)

_UNREADY: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "Loading, draining or unavailable",
        "model": Health,
        "headers": RETRY_AFTER,
        "content": {"application/json": {"example": {**HEALTH_EXAMPLE, "status": "draining"}}},
    }
}
_NO_KEY: dict[str, Any] = {"security": [{}]}  # where keys are set, these routes stay open
_METRICS_EXAMPLE = 'captioner_requests_total{code="200",route="/caption"} 600.0\ncaptioner_queue_depth 3.0\n'


@router.get(
    "/health",
    summary="Readiness",
    response_model=Health,
    response_description="Ready",
    responses=_UNREADY,
    openapi_extra=_NO_KEY,
)
@router.get(
    "/health/ready",
    name="health_ready",
    summary="Readiness, by its other name",
    response_model=Health,
    response_description="Ready",
    responses=_UNREADY,
    openapi_extra=_NO_KEY,
)
async def health(request: Request, response: Response) -> Health:
    """200 when pictures can be captioned now; 503 while loading, draining or without a device worker.

    ```
    curl http://127.0.0.1:8000/health
    ```
    """
    state = state_of(request)
    status = state.admission.state
    if status != "ok":
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    model = state.runner.model
    return Health.model_validate(
        {
            "status": status,
            "model": ModelName.of(model.config) if model else None,
            "device": ",".join(state.runner.devices) or None,
            "queue": Queue(depth=state.admission.depth, limit=state.admission.limit),
            "uptime_s": round(state.board.age_s, 1),
            "version": VERSION,
        }
    )


@router.get("/health/live", summary="Liveness", response_description="Alive", openapi_extra=_NO_KEY)
async def live() -> Liveness:
    """200 while the HTTP loop answers, whatever the state of the model.

    ```
    curl http://127.0.0.1:8000/health/live
    ```
    """
    return Liveness(status="ok")


for _path, _endpoint in (("/health", health), ("/health/ready", health), ("/health/live", live)):
    router.add_api_route(_path, _endpoint, methods=["HEAD"], include_in_schema=False)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus's text format",
            "content": {"text/plain": {"example": _METRICS_EXAMPLE, "schema": {"type": "string"}}},
        },
        **problems(401),
    },
)
async def metrics(request: Request) -> Response:
    """Counts and timings of requests, stages and batches, in Prometheus's text format.

    ```
    curl http://127.0.0.1:8000/metrics
    ```
    """
    state = state_of(request)
    return Response(state.metrics.render(state.board), media_type=CONTENT_TYPE)


@router.get(
    "/model",
    summary="The model's card",
    response_description="The card",
    responses=problems(401, 503, without=(WorkerLost, InferenceError)),
)
async def model(request: Request) -> Card:
    """What the checkpoint is: architecture, preprocessing, vocabulary, data, licence and scores.

    ```
    curl http://127.0.0.1:8000/model
    ```
    """
    info = state_of(request).runner.model
    if info is None:
        raise NotReady("the service is loading")
    config = info.config
    return Card(
        name=config.name,
        revision=config.revision,
        architecture=msgspec.to_builtins(config.architecture),
        preprocessing=msgspec.to_builtins(config.preprocessing),
        decoding=msgspec.to_builtins(config.decoding),
        vocabulary_size=config.vocabulary_size,
        facts=config.card,
        card=info.card,
    )
