"""OpenTelemetry traces, where the extra ``otel`` is installed and the environment says where they go.

A request is one trace, the caller's if it sends a W3C ``traceparent``: a server span, and below it decode,
queue and inference of each picture. OpenTelemetry's own variables set it up (``OTEL_EXPORTER_OTLP_ENDPOINT``
and more).
"""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wanted() -> bool:
    """Whether the environment names a place for traces.

    :raises SettingsError: it does, and OpenTelemetry is not installed
    """
    name = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if name and not _installed():
        raise SettingsError(f"{name} is set but OpenTelemetry is missing: pip install 'captioner[otel]'")
    return name is not None


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even what it would be a part of
        return False


def provider_of_environment() -> TracerProvider:
    """Sends spans in batches, from a thread of its own, over OTLP and HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "captioner")})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Makes the spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("captioner")

    def close(self) -> None:
        """Send what is still held."""
        self._provider.shutdown()

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run ``app`` for one request inside its server span."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, Status, StatusCode

        head = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            scope["method"], context=propagate.extract(head), kind=SpanKind.SERVER
        ) as span:

            async def send_with_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await app(scope, receive, send_with_status)
            finally:
                route = getattr(scope.get("route"), "path", "other")  # as it is declared: there are few
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.request.method": scope["method"], "http.route": route})

    def record_stages(self, decode_s: float, queue_s: float, inference_s: float, batch_size: int) -> None:
        """Spans of one picture's stages, which have just ended, below the request's span."""
        end = time.time_ns()
        for name, seconds in (("inference", inference_s), ("queue", queue_s), ("decode", decode_s)):
            start = end - int(seconds * 1e9)
            span = self._tracer.start_span(name, start_time=start)
            if name == "inference":
                span.set_attribute("captioner.batch_size", batch_size)
            span.end(end_time=end)
            end = start


class Traces:
    """Outermost layer of the application."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self.tracing.serve(self.app, scope, receive, send)
