"""Pure ASGI middleware: what every request gets. (Starlette's ``BaseHTTPMiddleware`` hides disconnects.)"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.board import Board
from service.errors import HeadTooLarge, KeyRequired, MalformedRequest, NotReady
from service.metrics import Metrics
from service.problems import problem_response

CLIENT_GONE = 499  # what nginx logs; nobody receives it
MAX_HEADERS = 100
_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
RawHeader = tuple[bytes, bytes]  # as ASGI has it: the name in small letters

log = logging.getLogger("captioner.access")


class RequestContext:
    """Outermost: request id, start time, security headers, metrics, one log line, and the last resort."""

    def __init__(self, app: ASGIApp, board: Board, metrics: Metrics) -> None:
        self.app = app
        self.board = board
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = dict(reversed(scope["headers"]))  # of a header that comes twice, the first
        wanted = head.get(b"x-request-id", b"").decode("latin-1")
        request_id = wanted if _SANE_ID.fullmatch(wanted) else uuid.uuid4().hex
        started = time.monotonic()
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, started=started)
        status = CLIENT_GONE

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._with_ours(message["headers"], request_id)
            await send(message)

        try:
            _check_head(scope["headers"], head)
            await self.app(scope, receive, send_with_headers)
        except ClientGone:
            pass
        except asyncio.CancelledError:  # the drain's time is up
            if status != CLIENT_GONE:
                raise
            error = NotReady("the service stopped before this was done", {"Connection": "close"})
            await problem_response(error, request_id)(scope, receive, send_with_headers)
        except (
            Exception
        ) as error:  # nothing below knew it; what happens after the first byte cannot be mended
            if status != CLIENT_GONE:
                raise
            await problem_response(error, request_id)(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.monotonic() - started)

    def _with_ours(self, headers: Iterable[RawHeader], request_id: str) -> list[RawHeader]:
        """A response's headers and those that every response has, where it does not say otherwise."""
        said = {name for name, _ in headers}
        more = [header for header in _HEADERS if header[0] not in said]
        if self.board.draining and b"connection" not in said:
            more.append((b"connection", b"close"))
        return [*headers, (b"x-request-id", request_id.encode()), *more]

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.observe_request(route, status, seconds)
        quiet = route.startswith("/health") or route == "/metrics"
        level = logging.DEBUG if quiet else logging.INFO
        if not log.isEnabledFor(level):
            return
        state = scope["state"]
        fields = {"request_id": state["request_id"], "ms": round(seconds * 1000, 1)}
        if timing := state.get("timing"):
            fields |= timing.model_dump(exclude={"total_ms"})
        log.log(level, "%s %s %d", scope["method"], scope["path"], status, extra=fields)


def _check_head(headers: Sequence[RawHeader], head: Mapping[bytes, bytes]) -> None:
    """:raises ServiceError: 431, too many headers; 400, no sane Host, or a body of two lengths"""
    if len(headers) > MAX_HEADERS:
        raise HeadTooLarge(f"at most {MAX_HEADERS} headers are taken", {"Connection": "close"})
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].decode("latin-1")):
        raise MalformedRequest("the Host header names no host", {"Connection": "close"})
    if b"content-length" in head and b"transfer-encoding" in head:  # how requests are smuggled
        close = {"Connection": "close"}
        raise MalformedRequest("a body has Content-Length or Transfer-Encoding, not both", close)


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


class Cors(CORSMiddleware):
    """Lets pages of the configured origins call; a preflight that is refused gets a problem document."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        return response if response.status_code == 200 else _PreflightRefused()


class _PreflightRefused(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = MalformedRequest("pages of this origin may not call so")
        await problem_response(error, scope["state"]["request_id"])(scope, receive, send)


class ApiKeys:
    """Lets a request in that bears one of the keys; health, documentation and page are open to all."""

    OPEN = re.compile(r"/|/health(/live|/ready)?|/docs|/openapi\.json|/static/.*")

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self.app = app
        self.keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.OPEN.fullmatch(scope["path"]) or self._has_key(scope):
            await self.app(scope, receive, send)
            return
        error = KeyRequired(
            "send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            {"WWW-Authenticate": "Bearer"},
        )
        await problem_response(error, scope["state"]["request_id"])(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        offered = headers.getlist("x-api-key")
        for value in headers.getlist("authorization"):
            scheme, _, credentials = value.partition(" ")
            offered.append(credentials.strip() if scheme.lower() == "bearer" else "")
        if len(offered) != 1:  # none, or several that may contradict each other
            return False
        key = offered[0].encode("latin-1")
        # Every key is compared, each in constant time: how long it takes tells nothing.
        return True in [hmac.compare_digest(key, known) for known in self.keys]
