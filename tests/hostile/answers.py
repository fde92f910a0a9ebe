"""What every answer must be, whatever was sent; and how many inputs to try."""

from __future__ import annotations

import os
from functools import cache

import httpx
from hypothesis import HealthCheck, Phase, settings

from service.app import create_app
from service.settings import Settings
from tests.service.fakes import FakeRunner
from tests.service.wire import NEVER_SAID

NAME = "a-name-nobody-may-be-told"
PROBLEM = {"type", "title", "status", "detail", "request_id"}
EFFORT = int(os.environ.get("HOSTILE_EFFORT") or 0)


def effort(examples: int) -> settings:
    """So many examples, always the same; ``HOSTILE_EFFORT=100`` tries a hundred times as many, new ones."""
    return settings(
        max_examples=examples * (EFFORT or 1),
        derandomize=not EFFORT,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@cache
def allowed() -> set[int]:
    """Statuses that the document declares for POST /caption, without those that no answer may have."""
    document = create_app(Settings(), FakeRunner()).openapi()
    declared = {int(status) for status in document["paths"]["/caption"]["post"]["responses"]}
    return {status for status in declared if status < 500 or status in (503, 504)}


def assert_allowed(response: httpx.Response) -> None:
    """The document declares such an answer; an error tells nothing of the inside nor of a file's name."""
    status = response.status_code
    assert status in allowed(), response.text
    assert response.headers["X-Request-ID"]
    if status == 200:
        assert response.json()["caption"]
        return
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == PROBLEM
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert not [word for word in NEVER_SAID if word in response.content], response.text
    assert NAME not in response.text
