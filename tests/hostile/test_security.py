"""Rows 67 to 74: who may do what, and what is never done. (Row 70 also: tests/page/test_ways_in.py.)"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import httpx
import pytest

from tests.pictures import picture
from tests.service.processes import Service, running, until
from tests.service.wire import assert_problem, exchange

GOOD = picture(3)
HOME, FOREIGN = "https://home.example", "https://foreign.example"
KEYED = ("/caption", "/captions", "/model/predict", "/metrics", "/model", "/model/metadata")


@pytest.fixture(scope="module")
def locked() -> Iterator[Service]:
    """A service with keys and one origin whose pages may call."""
    with running("--api-keys", "first-key,second-key", "--cors-origins", HOME) as service:
        yield service


@pytest.mark.row(67)
def test_without_one_right_key_nothing_works(locked: Service, measured: Callable[[str], None]) -> None:
    offers: list[list[tuple[str, str]]] = [
        [],
        [("X-API-Key", "wrong")],
        [("X-API-Key", "")],
        [("X-API-Key", "first-key ,")],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Basic first-key")],
        [("X-API-Key", "first-key"), ("X-API-Key", "second-key")],
        [("X-API-Key", "first-key"), ("Authorization", "Bearer first-key")],
    ]
    with httpx.Client(base_url=locked.url, timeout=100) as http:
        for path in (
            *KEYED,
            "//caption",
            "/caption/",
            "/nowhere",
            "/health/../caption",
            "/static/../caption",
        ):
            for offer in offers:
                # a URL of its own keeps httpx from tidying the path
                request = http.build_request("POST", "/", headers=offer, files={"image": GOOD})
                request.url = request.url.copy_with(raw_path=path.encode())
                assert http.send(request).status_code == 401, (path, offer)
        right = {"X-API-Key": "second-key"}
        assert http.post("/caption", headers=right, files={"image": GOOD}).status_code == 200
        bearer = {"Authorization": "Bearer first-key"}
        assert http.post("/caption", headers=bearer, files={"image": GOOD}).status_code == 200
    for host in (b"evil.example", b"localhost:1", b"127.0.0.1"):
        request_bytes = b"GET /model HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        assert_problem(exchange(locked.url, request_bytes), 401)
    measured(f"401 for {len(offers)} offers on each of 9 paths")


@pytest.mark.row(67)
def test_no_key_is_logged_or_shown(locked: Service) -> None:
    keys = {"X-API-Key": "first-key"}
    shown = [
        httpx.get(f"{locked.url}{path}", headers=keys, timeout=30).text for path in ("/health", "/model")
    ]
    assert not [text for text in [*shown, *locked.lines] if "first-key" in text or "second-key" in text]


@pytest.mark.row(68)
def test_pages_of_other_origins_may_not_call(
    locked: Service, http: httpx.Client, measured: Callable[[str], None]
) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with httpx.Client(base_url=locked.url, timeout=100) as guarded:
        for client, origin in ((http, HOME), (http, FOREIGN), (guarded, FOREIGN), (guarded, "null")):
            for answer in (
                client.options("/caption", headers={**preflight, "Origin": origin}),
                client.get("/health", headers={"Origin": origin}),
            ):
                assert "access-control-allow-origin" not in answer.headers
        refused = guarded.options("/caption", headers={**preflight, "Origin": FOREIGN})
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/problem+json"
        allowed = guarded.options("/caption", headers={**preflight, "Origin": HOME})
        assert allowed.headers["access-control-allow-origin"] == HOME
        assert "access-control-allow-credentials" not in allowed.headers
    measured("no Access-Control-Allow-Origin; never with credentials")


@pytest.mark.row(69)
def test_nothing_outside_the_pages_folder_is_given(url: str, measured: Callable[[str], None]) -> None:
    for path in (
        "/static/..%2f..%2fetc/passwd",
        "/static/../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/swagger/..%2f..%2f..%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/static/..%5c..%5cetc%5cpasswd",
        "/static/page.js%00.png",
        "/static/../app.py",
        "/static/" + "a" * 5000,
    ):
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        assert_problem(exchange(url, request), 404)
    measured("404")


@pytest.mark.row(70)
def test_a_file_name_is_never_markup(http: httpx.Client, measured: Callable[[str], None]) -> None:
    evil = "<img src=x onerror=alert(1)>.jpg"
    for data in (GOOD, b"no picture"):
        answer = http.post("/caption", files={"image": (evil, data)})
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        assert "onerror" not in answer.text
    for path in ("/", "/docs"):
        assert "script-src 'self';" in http.get(path).headers["content-security-policy"]
    measured("text in the page, script-src 'self'")


@pytest.mark.row(71)
def test_the_pages_name_no_other_host(http: httpx.Client, measured: Callable[[str], None]) -> None:
    for path in ("/", "/docs"):
        assets = re.findall(r'(?:src|href)="([^"]+)"', http.get(path).text)
        assert assets
        assert not [asset for asset in assets if "//" in asset]
        assert "default-src 'none'" in http.get(path).headers["content-security-policy"]
    measured("no request to another host")


@pytest.mark.row(72)
def test_a_line_of_the_log_cannot_be_forged(
    service: Service, http: httpx.Client, measured: Callable[[str], None]
) -> None:
    marks = ("\r\nforged", "\nforged", "\u2028forged", "\x1b[2Kforged")
    seen = len(service.lines)
    for mark in marks:
        http.get("/" + quote(f"nowhere{mark}"))
        http.post("/caption", files={"image": (f"name{mark}.jpg", b"no picture")})
        http.get("/health/live", headers={"X-Request-ID": quote(mark)})
    until(lambda: sum("nowhere" in line for line in service.lines[seen:]) == len(marks))
    lines = [line for line in service.lines[seen:] if "forged" in line]
    assert len(lines) == len(marks)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ info ", line) for line in lines)
    assert not [line for line in lines if "\x1b" in line or len(line.splitlines()) > 1]
    measured("one line each, escaped")


@pytest.mark.row(73)
def test_every_answer_has_its_security_headers(http: httpx.Client, measured: Callable[[str], None]) -> None:
    answers = [
        http.post("/caption", files={"image": GOOD}),
        http.post("/caption", files={"image": b"no picture"}),
        *(http.get(path) for path in ("/", "/docs", "/openapi.json", "/health", "/metrics", "/nowhere")),
        http.put("/caption"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    measured("on every answer")


@pytest.mark.row(74)
def test_no_picture_is_fetched_from_an_address(http: httpx.Client, measured: Callable[[str], None]) -> None:
    asked: list[str] = []

    class Bait(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Bait) as bait:
        threading.Thread(target=bait.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{bait.server_port}/x.jpg"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>'.encode()
        statuses = [
            http.post("/caption", data={"url": address}).status_code,
            http.post("/caption", json={"url": address}).status_code,
            http.post(f"/caption?url={quote(address)}").status_code,
            http.post("/caption", files={"url": (None, address)}).status_code,
            http.post("/caption", files={"image": (None, address)}).status_code,
            http.post("/caption", files={"image": ("x.svg", svg, "image/svg+xml")}).status_code,
        ]
        bait.shutdown()
    assert statuses == [415, 415, 415, 422, 422, 415]
    assert not asked
    measured("nothing is ever fetched: 415 or 422")
