"""Traces of the real service, sent to a collector that the test plays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.pictures import picture
from tests.service.processes import running, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Speaks OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                a.value.string_value for a in resource.resource.attributes if a.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    yield collector
    collector.server.shutdown()


def test_one_trace_goes_from_the_caller_to_the_device(collector: Collector) -> None:
    with running() as service, httpx.Client(base_url=service.url, timeout=120) as http:
        context = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        files = [("images", picture(n)) for n in range(2)]
        assert http.post("/captions", files=files, headers=context).status_code == 200
        assert http.post("/caption", files={"wrong": picture()}).status_code == 422
        until(
            lambda: len(collector.of(TRACE)) == 7 and any(s.name == "POST /caption" for s in collector.spans)
        )
    assert collector.services == {"captioner"}
    (request,) = (span for span in collector.of(TRACE) if span.kind == Span.SPAN_KIND_SERVER)
    assert request.name == "POST /captions"
    assert request.parent_span_id.hex() == PARENT
    stages = [span for span in collector.of(TRACE) if span is not request]
    assert sorted(span.name for span in stages) == sorted(["decode", "queue", "inference"] * 2)
    for span in stages:
        assert span.parent_span_id == request.span_id
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
    ends = {span.end_time_unix_nano for span in stages if span.name == "queue"}
    assert ends == {span.start_time_unix_nano for span in stages if span.name == "inference"}
    (refused,) = collector.named("POST /caption")
    assert refused.trace_id.hex() != TRACE
    attributes = {a.key: a.value for a in refused.attributes}
    assert attributes["http.response.status_code"].int_value == 422
    assert refused.status.code == Status.STATUS_CODE_UNSET  # the client's mistake is no failure of the server


def test_a_collector_that_is_gone_costs_no_caption(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.server.shutdown()
    collector.server.server_close()
    with running() as service:
        assert service.caption(picture()).status_code == 200
        service.process.terminate()
        assert service.wait() == 0
