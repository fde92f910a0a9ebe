"""What every route has: problem documents, request ids, keys, headers; and the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port
from tests.service.test_caption import assert_problem


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        yield url


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with on_a_port(create_app(Settings(api_keys="first-key,second-key"), FakeRunner())) as url:
        yield url


def test_unknown_routes_and_methods_are_problems(url: str) -> None:
    assert_problem(httpx.get(f"{url}/nowhere"), 404, "not-found")
    assert_problem(httpx.get(f"{url}/static/..%2f..%2fetc/passwd"), 404, "not-found")
    response = httpx.get(f"{url}/caption")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


def test_a_sane_request_id_is_kept_and_another_replaced(url: str) -> None:
    kept = httpx.get(f"{url}/health", headers={"X-Request-ID": "my-id.1"})
    assert kept.headers["x-request-id"] == "my-id.1"
    for bad in ("x" * 65, "a b", '"><script>'):
        replaced = httpx.get(f"{url}/health", headers={"X-Request-ID": bad})
        assert re.fullmatch("[0-9a-f]{32}", replaced.headers["x-request-id"])


def test_every_answer_has_security_headers(url: str) -> None:
    for path in ("/", "/docs", "/health", "/nowhere", "/openapi.json"):
        headers = httpx.get(url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_health_says_what_runs(url: str) -> None:
    for path in ("/health", "/health/ready"):
        response = httpx.get(url + path)
        assert response.status_code == 200
        answer = response.json()
        assert answer["status"] == "ok"
        assert answer["model"] == {"name": "fake", "revision": "unsaved"}
        assert answer["device"] == "cpu"
        assert answer["queue"] == {"depth": 0, "limit": 256}
        assert answer.keys() >= {"uptime_s", "version"}
    assert httpx.head(f"{url}/health").status_code == 200


@pytest.mark.parametrize("state", ["loading", "unavailable"])
def test_not_ready_is_503_and_alive(state: str) -> None:
    runner = FakeRunner(state=state)  # type: ignore[arg-type]
    runner.model = None
    with on_a_port(create_app(Settings(), runner)) as url:
        health = httpx.get(f"{url}/health")
        assert (health.status_code, health.json()["status"]) == (503, state)
        assert httpx.get(f"{url}/health/live").status_code == 200
        for response in (httpx.post(f"{url}/caption", files={"image": picture()}), httpx.get(f"{url}/model")):
            assert_problem(response, 503, "not-ready")
            assert int(response.headers["retry-after"]) >= 1


def test_model_gives_the_card(url: str) -> None:
    card = httpx.get(f"{url}/model").json()
    assert card["name"] == "fake"
    assert card["card"] == "# Card"


def test_metrics_count_requests_and_stages(url: str) -> None:
    httpx.post(f"{url}/caption", files={"image": picture()})
    text = httpx.get(f"{url}/metrics").text
    assert 'captioner_requests_total{code="200",route="/caption"}' in text
    for stage in ("decode", "queue", "inference"):
        assert f'captioner_stage_seconds_count{{stage="{stage}"}}' in text
    assert "captioner_queue_depth 0.0" in text
    assert "captioner_worker_restarts_total 0.0" in text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic first-key"},
        {"X-API-Key": "first-key", "Authorization": "Bearer first-key"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/caption", "//caption", "/caption/", "/captions", "/metrics", "/model", "/nowhere"]
)
def test_without_a_valid_key_nothing_works(locked: str, path: str, headers: dict) -> None:
    response = httpx.post(locked + path, headers=headers, files={"image": picture()})
    assert_problem(response, 401, "key-required")


@pytest.mark.parametrize("headers", [{"X-API-Key": "second-key"}, {"Authorization": "Bearer first-key"}])
def test_a_valid_key_lets_in(locked: str, headers: dict) -> None:
    assert httpx.post(f"{locked}/caption", headers=headers, files={"image": picture()}).status_code == 200


def test_health_and_pages_need_no_key(locked: str) -> None:
    for path in (
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        "/health/live",
        "/health/ready",
        "/static/page.js",
    ):
        assert httpx.get(locked + path).status_code == 200


def test_the_openapi_page_can_send_a_key(locked: str, url: str) -> None:
    schemes = httpx.get(f"{locked}/openapi.json").json()["components"]["securitySchemes"]
    assert {scheme.get("scheme", scheme.get("name")) for scheme in schemes.values()} == {
        "bearer",
        "X-API-Key",
    }
    assert "securitySchemes" not in httpx.get(f"{url}/openapi.json").json()["components"]


def test_foreign_pages_may_call_only_if_configured(url: str) -> None:
    preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{url}/caption", headers=preflight).headers
    settings = Settings(cors_origins="https://elsewhere.example", api_keys="key")
    with on_a_port(create_app(settings, FakeRunner())) as open_url:
        answer = httpx.options(f"{open_url}/caption", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
        other = httpx.options(f"{open_url}/caption", headers={**preflight, "Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_pages_load_nothing_from_another_host(url: str) -> None:
    for path in ("/", "/docs"):
        html = httpx.get(url + path).text
        assets = re.findall(r'(?:src|href)="([^"]+)"', html)
        assert assets
        for asset in assets:
            assert ":" not in asset or asset == "data:,"
            if asset not in ("data:,", "docs"):
                assert httpx.get(f"{url}/{asset}").status_code == 200
        assert "<script>" not in html
        assert "script-src 'self';" in httpx.get(url + path).headers["content-security-policy"]


def test_assets_are_kept_by_browsers_until_they_change(url: str) -> None:
    first = httpx.get(f"{url}/static/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{url}/static/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert httpx.get(f"{url}/health").headers["cache-control"] == "no-store"
