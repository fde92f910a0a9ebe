"""The HTTP application: settings and a runner in, ASGI out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from model.errors import CaptionerError
from service.admission import Admission
from service.board import Board
from service.decode import DecodePool
from service.metrics import Metrics
from service.middleware import ApiKeys, Cors, RequestContext
from service.pipeline import Pipeline
from service.problems import problem_response
from service.routes import captions, ibm_max, pages, reload, status
from service.runner import Runner
from service.settings import Settings
from service.state import AppState, LifespanState
from service.tracing import Traces, Tracing

DESCRIPTION = """Send a picture, get one good English sentence about it.

    curl -F image=@photo.jpg http://127.0.0.1:8000/caption

A picture's bytes decide what format it has, not its name or declared type. Every error is an RFC 9457 problem
document; 429 and 503 say with `Retry-After` when to come again.
"""

ROUTERS = (captions.router, status.router, reload.router, ibm_max.router, pages.router)
TAGS = [
    {"name": "captions", "description": "Pictures in, sentences out."},
    {"name": "status", "description": "How the service is, and what it runs."},
    {"name": "IBM MAX", "description": "The archived Image Caption Generator's interface, for its clients."},
]


def create_app(
    settings: Settings,
    runner: Runner,
    board: Board | None = None,
    front_end: int = 0,
    decoder: DecodePool | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """An application that captions with ``runner``.

    :param board: shared with the service's other processes; a private one unless given
    :param front_end: this process's row on the board
    :param decoder: turns uploads into pixels; threads of this process unless given
    :param tracing: makes a trace of each request; none unless given
    """
    board = board or Board.private()
    metrics = Metrics()
    admission = Admission(settings, board, front_end, runner, metrics)
    pool = decoder or DecodePool(settings.max_image_pixels)
    pipeline = Pipeline(runner, admission, pool, metrics, tracing)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        await runner.start()
        yield {"captioner": AppState(settings, runner, board, metrics, admission, pipeline)}
        await runner.stop()
        pool.close()
        if tracing:
            tracing.close()

    app = FastAPI(
        title="Captioner",
        version=status.VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        generate_unique_id_function=lambda route: route.name,  # generated clients name their functions so
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for known in (CaptionerError, HTTPException, RequestValidationError):
        app.add_exception_handler(known, _answer_problem)
    # The middleware decides; these let the OpenAPI page ask for a key and send it.
    schemes = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
    keys = [Security(scheme) for scheme in schemes] if settings.api_keys else []
    for router in ROUTERS:
        app.include_router(router, dependencies=keys if router is not pages.router else None)
    pages.mount_assets(app)
    # The last one added is the outermost.
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    if settings.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestContext, board=board, metrics=metrics)
    if tracing:
        app.add_middleware(Traces, tracing=tracing)
    return app


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, HTTPException) and error.status_code == 405:
        error.headers = {"Allow": ", ".join(sorted(_methods(request.url.path)))}
    return problem_response(error, request.state.request_id)


def _methods(path: str) -> set[str]:
    """All that a path can be asked with: Starlette names the methods of the first of its routes alone."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return {m for route in routes if route.path == path for m in route.methods or ()} or {
        "GET",
        "HEAD",
    }  # a file
