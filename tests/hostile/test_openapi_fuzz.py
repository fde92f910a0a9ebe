"""What schemathesis thinks of from the OpenAPI document, on a real port: no answer but those it declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import strategies as st
from schemathesis import Case, Response
from schemathesis.checks import load_all_checks, negative_data_rejection, positive_data_acceptance

from service.app import create_app
from service.settings import Settings
from tests.hostile.answers import PROBLEM, effort
from tests.hostile.mutations import mutated, pictures
from tests.service.fakes import FakeRunner, on_a_port
from tests.service.wire import NEVER_SAID

KEY = "a-key"
# A schema cannot say that n is at most beam, nor which bytes are a picture: what it allows may be refused.
EXCLUDED = [positive_data_acceptance]
EXAMPLES = 50

load_all_checks()
schemathesis.openapi.media_type("image/*", st.sampled_from(pictures()) | mutated() | st.binary())


def application(*keys: str) -> FastAPI:
    return create_app(Settings(api_keys=keys), FakeRunner())


OPEN = schemathesis.openapi.from_dict(application().openapi())
LOCKED = schemathesis.openapi.from_dict(application(KEY).openapi())


@pytest.fixture(scope="module")
def open_url() -> Iterator[str]:
    with on_a_port(application()) as url:
        yield url


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    with on_a_port(application(KEY)) as url:
        yield url


@OPEN.parametrize()
@effort(EXAMPLES)
def test_every_answer_is_declared(case: Case, open_url: str) -> None:
    hold(case, open_url)


@LOCKED.parametrize()
@effort(EXAMPLES)
def test_every_answer_is_declared_where_keys_are_needed(case: Case, locked_url: str) -> None:
    hold(case, locked_url, headers={"X-API-Key": KEY})


def hold(case: Case, url: str, **options: Any) -> None:
    """Send what schemathesis made; the answer is as the document declares, and says nothing of the inside."""
    response = case.call(base_url=url, **options)
    excluded = EXCLUDED + [negative_data_rejection] * _is_less_than_was_made(case, response)
    case.validate_response(response, excluded_checks=excluded, transport_kwargs=options)
    assert response.headers["x-request-id"]
    if response.status_code >= 400:
        if (case.operation.path, response.status_code) != ("/model/predict", 400):  # IBM MAX had another form
            assert response.json().keys() == PROBLEM
        assert not [word for word in NEVER_SAID if word in response.content]


def _is_less_than_was_made(case: Case, response: Response) -> bool:
    """A form's forbidden field that is a list of empty lists is not sent: what arrives is a good form."""
    sent = response.request.body
    return (
        isinstance(case.body, dict)
        and isinstance(sent, bytes)
        and sent.count(b"Content-Disposition: form-data") < len(case.body)
    )
