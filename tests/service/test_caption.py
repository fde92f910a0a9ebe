"""``POST /caption`` and ``POST /captions`` over a real socket, with a fake runner."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_a_port(
        create_app(Settings(max_upload_bytes=250_000, max_image_pixels=1_000_000), FakeRunner())
    ) as url:
        yield url


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"].endswith(f":{code}")
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_form_with_a_picture_gets_a_caption(url: str, kind: str) -> None:
    response = httpx.post(f"{url}/caption", files={"image": ("x", picture(kind=kind), "text/plain")})
    assert response.status_code == 200
    answer = response.json()
    assert answer.keys() == {"caption", "log_probability", "model", "timing"}
    assert answer["caption"] == "a red ball"
    assert answer["model"] == {"name": "fake", "revision": "unsaved"}
    assert answer["timing"].keys() == {"decode_ms", "queue_ms", "inference_ms", "total_ms", "batch_size"}


def test_a_raw_body_gets_a_caption(url: str) -> None:
    response = httpx.post(f"{url}/caption", content=picture(), headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 200


def test_bytes_decide_the_format_not_the_declared_type(url: str) -> None:
    response = httpx.post(
        f"{url}/caption", content=picture(kind="GIF"), headers={"Content-Type": "image/jpeg"}
    )
    assert response.status_code == 200


def test_alternatives_and_tokens_come_when_asked_for(url: str) -> None:
    query = "beam=4&n=3&tokens=true"
    answer = httpx.post(f"{url}/caption?{query}", files={"image": picture()}).json()
    assert len(answer["alternatives"]) == 2
    assert answer["alternatives"][0]["log_probability"] >= answer["alternatives"][1]["log_probability"]
    assert [token["text"] for token in answer["tokens"]] == ["a", "red", "ball"]


@pytest.mark.parametrize("query", ["beam=0", "beam=11", "n=2", "beam=2&n=3", "beam=x", "tokens=maybe"])
def test_an_option_out_of_range_is_422(url: str, query: str) -> None:
    response = httpx.post(f"{url}/caption?{query}", files={"image": picture()})
    assert_problem(response, 422, "unusable-request")


@pytest.mark.parametrize(
    ("files", "status", "code"),
    [
        ([("photo", ("x.jpg", picture()))], 422, "unusable-request"),
        ([("image", (None, picture()))], 422, "unusable-request"),
        ([("image", ("x.jpg", picture())), ("image", ("y.jpg", picture()))], 422, "unusable-request"),
        ([("image", ("x.jpg", picture())), ("colour", (None, b"red"))], 422, "unusable-request"),
        ([("image", ("x.jpg", b""))], 422, "unreadable-picture"),
        ([("image", ("x.jpg", picture()[:4000]))], 422, "unreadable-picture"),
        ([("image", ("x.jpg", picture()[:20]))], 422, "unreadable-picture"),
        ([("image", ("x.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"))], 415, "unsupported-picture"),
        ([("image", ("x.png", picture(kind="TIFF")))], 415, "unsupported-picture"),
        ([("image", ("x.png", picture(size=(1100, 1000), kind="GIF")))], 422, "too-many-pixels"),
        ([("image", ("x.bmp", picture(size=(300, 300), kind="BMP")))], 413, "upload-too-large"),
    ],
)
def test_an_unusable_form_is_refused(url: str, files: list, status: int, code: str) -> None:
    assert_problem(httpx.post(f"{url}/caption", files=files), status, code)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, picture(), 415, "unsupported-body"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"image=1", 415, "unsupported-body"),
        ({"Content-Type": "text/plain"}, picture(), 415, "unsupported-body"),
        ({"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}, picture(), 415, "unsupported-body"),
        ({"Content-Type": "image/jpeg"}, b"", 422, "unreadable-picture"),
        ({"Content-Type": "image/jpeg"}, b"\xff" * 250_001, 413, "upload-too-large"),
        ({"Content-Type": "multipart/form-data"}, b"--x--", 400, "malformed-request"),
        ({"Content-Type": "multipart/form-data; boundary=" + "b" * 300}, b"", 400, "malformed-request"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--y\r\n\r\n", 400, "malformed-request"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
            400,
            "malformed-request",
        ),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 422, "unusable-request"),
    ],
)
def test_an_unusable_body_is_refused(url: str, headers: dict, body: bytes, status: int, code: str) -> None:
    assert_problem(httpx.post(f"{url}/caption", content=body, headers=headers), status, code)


def test_a_body_without_length_is_cut_off_at_the_limit(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"\xff" * 1000

    response = httpx.post(f"{url}/caption", content=chunks(), headers={"Content-Type": "image/jpeg"})
    assert_problem(response, 413, "upload-too-large")


def test_an_upload_that_stops_is_408_at_the_deadline() -> None:
    with on_a_port(create_app(Settings(request_timeout=0.5), FakeRunner())) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(
                b"POST /caption HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\nabc"
            )
            answer = b"".join(iter(lambda: client.recv(65536), b""))  # until the service closes
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"upload-too-slow" in answer


def test_several_pictures_keep_their_order_and_fail_alone(url: str) -> None:
    files = [("images", picture(n)) for n in range(3)]
    files[1] = ("images", b"not a picture")
    response = httpx.post(f"{url}/captions", files=files)
    assert response.status_code == 200
    first, second, third = response.json()["results"]
    assert first["caption"] == third["caption"] == "a red ball"
    assert second["error"]["status"] == 415
    assert second.keys() == {"error"}


def test_more_than_32_pictures_are_refused(url: str) -> None:
    tiny = picture(size=(8, 8))
    assert httpx.post(f"{url}/captions", files=[("images", tiny)] * 32).status_code == 200
    assert_problem(httpx.post(f"{url}/captions", files=[("images", tiny)] * 33), 422, "unusable-request")


def test_an_error_of_the_model_is_503_with_retry_after() -> None:
    with on_a_port(create_app(Settings(), FakeRunner(error=RuntimeError("/secret/path")))) as url:
        response = httpx.post(f"{url}/caption", files={"image": picture()})
        assert_problem(response, 503, "internal")
        assert int(response.headers["retry-after"]) >= 1
        assert "secret" not in response.text
