"""The archived IBM MAX interface over a real socket: as its clients knew it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port
from tests.service.processes import Service, stop
from tests.service.test_caption import assert_problem

WRONG_TYPE = {"message": "Invalid file type/extension. Please provide an image in JPEG or PNG format."}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    settings = Settings(max_upload_bytes=100_000, max_image_pixels=1_000_000)
    with on_a_port(create_app(settings, FakeRunner())) as url:
        yield f"{url}/model"


@pytest.mark.parametrize(
    "part",
    [
        ("surfing.jpg", picture(), "image/jpeg"),
        ("surfing.png", picture(kind="PNG"), "image/png"),
        ("surfing", picture(), "image/jpg"),
        ("surfing.JPG", picture()),  # the archived web app declares no type
    ],
)
def test_three_predictions_best_first(url: str, part: tuple) -> None:
    response = httpx.post(f"{url}/predict", content=form(*part), headers=FORM)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer.keys() == {"status", "predictions"}
    assert answer["status"] == "ok"
    assert [p["index"] for p in answer["predictions"]] == ["0", "1", "2"]
    assert [p["caption"] for p in answer["predictions"]] == ["a red ball", "a red ball !", "a red ball ! !"]
    for rank, prediction in enumerate(answer["predictions"]):
        assert prediction.keys() == {"index", "caption", "probability"}
        assert prediction["probability"] == pytest.approx(math.exp(-1.5 - rank))


@pytest.mark.parametrize(
    "part",
    [
        ("film.gif", picture(kind="GIF"), "image/gif"),
        ("notes.txt", b"no picture", "text/plain"),
        ("film.gif", picture(kind="GIF")),
        ("surfing", picture()),
        ("notes.jpg", b"no picture", "image/jpeg"),
    ],
)
def test_another_type_is_refused_as_it_was_there(url: str, part: tuple) -> None:
    response = httpx.post(f"{url}/predict", content=form(*part), headers=FORM)
    assert (response.status_code, response.json()) == (400, WRONG_TYPE)
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "request_body",
    [
        {"files": {"photo": ("x.jpg", picture(), "image/jpeg")}},
        {"data": {"image": "text"}},
        {"content": picture(), "headers": {"Content-Type": "image/jpeg"}},
        {},
    ],
)
def test_a_missing_field_is_refused_as_it_was_there(url: str, request_body: dict) -> None:
    response = httpx.post(f"{url}/predict", **request_body)
    assert response.status_code == 400
    answer = response.json()
    assert answer["message"] == "Input payload validation failed"
    assert answer["errors"].keys() == {"image"}
    assert answer["errors"]["image"]


def test_what_it_never_foresaw_is_a_problem(url: str) -> None:
    cut = {"image": ("x.jpg", picture()[:4000], "image/jpeg")}
    assert_problem(httpx.post(f"{url}/predict", files=cut), 422, "unreadable-picture")
    large = {"image": ("x.png", b"\x89PNG\r\n\x1a\n" + b"x" * 200_000, "image/png")}
    assert_problem(httpx.post(f"{url}/predict", files=large), 413, "upload-too-large")


def test_metadata_says_what_runs(url: str) -> None:
    answer = httpx.get(f"{url}/metadata").json()
    assert answer.keys() == {"id", "name", "description", "type", "source", "license"}
    assert answer["id"] == "fake"
    assert httpx.get(answer["source"]).json()["name"] == "fake"


def test_it_needs_a_key_where_the_service_does() -> None:
    with on_a_port(create_app(Settings(api_keys="key"), FakeRunner())) as url:
        files = {"image": ("x.jpg", picture(), "image/jpeg")}
        assert_problem(httpx.post(f"{url}/model/predict", files=files), 401, "key-required")
        headers = {"X-API-Key": "key"}
        assert httpx.post(f"{url}/model/predict", files=files, headers=headers).status_code == 200


def test_while_the_model_loads_clients_wait() -> None:
    runner = FakeRunner(state="loading")
    with on_a_port(create_app(Settings(), runner)) as url, ThreadPoolExecutor(2) as threads:
        files = {"image": ("x.jpg", picture(), "image/jpeg")}
        probe = threads.submit(httpx.get, f"{url}/model/predict", timeout=30)
        sent = threads.submit(httpx.post, f"{url}/model/predict", files=files, timeout=30)
        threading.Timer(0.5, lambda: setattr(runner, "state", "ok")).start()
        assert probe.result().status_code == 405
        assert runner.state == "ok"
        assert sent.result().status_code == 200


def test_a_model_that_does_not_load_in_time_is_503() -> None:
    with on_a_port(create_app(Settings(request_timeout=0.3), FakeRunner(state="loading"))) as url:
        files = {"image": ("x.jpg", picture(), "image/jpeg")}
        assert_problem(httpx.post(f"{url}/model/predict", files=files), 503, "not-ready")


def test_the_web_apps_start_up_burst_succeeds_while_the_service_starts() -> None:
    """It probes once, takes any answer for readiness, and sends all of its pictures at the same time."""
    service = Service("--request-timeout", "60")
    try:
        address = f"{service.url}/model/predict"
        httpx.get(address, timeout=90)

        def send(data: bytes) -> httpx.Response:
            return httpx.post(address, files={"image": ("x.jpg", data, "image/jpeg")}, timeout=90)

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(send, [picture(seed) for seed in range(16)]))
        for answer in answers:
            answer.raise_for_status()
            probabilities = [p["probability"] for p in answer.json()["predictions"]]
            assert len(probabilities) == 3
            assert 1 > probabilities[0] >= probabilities[1] >= probabilities[2] > 0
            assert answer.json()["predictions"][0]["caption"]
    finally:
        stop(service)


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(filename: str, data: bytes, kind: str = "") -> bytes:
    """A form as ``requests`` writes it: a file without a type has no Content-Type line."""
    head = f'--b\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
    head += f"Content-Type: {kind}\r\n" if kind else ""
    return head.encode() + b"\r\n" + data + b"\r\n--b--\r\n"
