"""What the application holds while it runs, typed; every route reaches it through :func:`state_of`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, cast

from starlette.requests import Request

from service.admission import Admission
from service.board import Board
from service.metrics import Metrics
from service.pipeline import Pipeline
from service.runner import Runner
from service.settings import Settings


@dataclass(frozen=True)
class AppState:
    settings: Settings
    runner: Runner
    board: Board
    metrics: Metrics
    admission: Admission
    pipeline: Pipeline


class LifespanState(TypedDict):
    """What the application's lifespan yields: the server puts it into every request's state."""

    captioner: AppState


def state_of(request: Request) -> AppState:
    return cast(AppState, request.state.captioner)
