"""The OpenAPI document: valid, and complete enough to work from."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.app import create_app
from service.settings import Settings
from tests.service.fakes import FakeRunner

DOCUMENT: dict[str, Any] = create_app(Settings(), FakeRunner()).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def test_it_is_valid() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_generated_clients_get_good_names() -> None:
    names = {name: operation["operationId"] for name, operation in OPERATIONS.items()}
    assert names == {
        "POST /caption": "caption",
        "POST /captions": "captions",
        "GET /health": "health",
        "GET /health/ready": "health_ready",
        "GET /health/live": "live",
        "GET /metrics": "metrics",
        "GET /model": "model",
        "POST /model/reload": "reload_model",
        "POST /model/predict": "predict",
        "GET /model/metadata": "metadata",
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_route_has_a_title_a_sentence_and_a_worked_example(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert ". " in operation["description"].replace("\n", " ") or operation["description"].endswith(".")
    _, path = name.split()
    assert f"http://127.0.0.1:8000{path}" in operation["description"] or path == "/health/ready"


def examples(content: dict[str, Any]) -> list[Any]:
    """The examples of a media type: its own, or its schema's."""
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [example["value"] for example in content["examples"].values()]
    schema = DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return schema.get("examples", [])


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_answer_has_an_example(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        assert response["description"] not in ("", "Successful Response")
        for kind, content in response["content"].items():
            found = examples(content)
            assert found, f"{status} {kind}"
            if kind == "application/problem+json":
                assert all(example["status"] == int(status) for example in found)
        assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


def test_pictures_are_files() -> None:
    one, several = (
        OPERATIONS[f"POST /{route}"]["requestBody"]["content"] for route in ("caption", "captions")
    )
    assert one["multipart/form-data"]["schema"]["properties"]["image"]["format"] == "binary"
    assert one["image/*"]["schema"]["format"] == "binary"
    images = several["multipart/form-data"]["schema"]["properties"]["images"]
    assert (images["type"], images["items"]["format"]) == ("array", "binary")
