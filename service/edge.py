"""The HTTP edge: uvicorn's httptools protocol with a limit to each head and a deadline on everything a client
may be slow at.

Middleware runs once a request's head is complete, which is too late for a client that never completes it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from collections import deque
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import AddressTooLong, HeadTooLarge, MalformedRequest, ServiceError
from service.problems import PROBLEM_JSON, to_problem

HEAD_S = 8.0  # for the head of a request to arrive, from the connection's start or the answer before it
READ_S = 8.0  # for a client to take in what it was sent
LINGER_S = 2.0  # for a client to notice the answer to an upload that was refused half-way
MAX_HEAD_BYTES = 32_768
TOO_LARGE = f"the head of a request may have at most {MAX_HEAD_BYTES:,} bytes"
MAX_AHEAD = 32  # requests of a connection that are not answered yet; the rest of them is not taken
FORCED_STOP_S = 1

_UPGRADE = re.compile(rb"(?i)(\r\n)upgrade([ \t]*:)")


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How every front end serves its application."""
    return uvicorn.Config(
        app,
        http=EdgeProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=FORCED_STOP_S,
    )


class EdgeProtocol(HttpToolsProtocol):
    """One connection. Whatever a slow or stuck client does, it ends."""

    transport: _ResponseTransport  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._framing: int | None = None  # bytes since a request began, or since the last of its body
        self._deaf = False  # what still comes is thrown away
        self.lingering = False
        self._unanswered: deque[RequestResponseCycle] = deque()
        self.upload_unread = False
        """Part of a request's body has not arrived yet, or never will."""
        super().connection_made(_ResponseTransport(transport, self))  # type: ignore[arg-type]
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._unanswered:  # uvicorn tells the last one alone
            _disconnect(cycle)
        super().connection_lost(exc)
        for timer in (self._head_timer, self._read_timer):
            if timer:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._framing is not None:
            self._framing += len(data)
        super().data_received(data if self.upload_unread else _without_upgrade(data))
        if self._framing is not None and self._framing > MAX_HEAD_BYTES:  # one line without an end
            self._refuse(HeadTooLarge(TOO_LARGE) if self.url else AddressTooLong(TOO_LARGE))
        self._watch_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._framing = self._parsed_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url), AddressTooLong)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.upload_unread:  # a trailer is none of the head's
            super().on_header(name, value)
        self._count(len(name) + len(value), HeadTooLarge)

    def _count(self, size: int, error: type[ServiceError]) -> None:
        self._parsed_bytes += size
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise error(TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._framing = 0
        if len(self._unanswered) == MAX_AHEAD:
            raise MalformedRequest("too many requests were sent ahead of their answers")
        if self.parser.should_upgrade():  # llhttp takes no body then: the next request would begin in it
            raise MalformedRequest("there is no other protocol here")
        super().on_headers_complete()
        self.upload_unread = True
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing = None
        self.upload_unread = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.transport.flush()
        self._unanswered.popleft()
        super().on_response_complete()
        self._watch_head()

    def _watch_head(self) -> None:
        """Hold the client to a total time for what we wait for: a head, or the rest of an answered upload."""
        waiting = not self._unanswered
        if waiting and not self._head_timer:
            self._head_timer = self.loop.call_later(HEAD_S, self._give_up)
        elif not waiting and self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer and not self.transport.is_closing():
            self._read_timer.cancel()

    def expect_reading(self) -> None:
        """Hold the client to a time for taking in what is left to send."""
        if self._read_timer:
            self._read_timer.cancel()
        self._read_timer = self.loop.call_later(READ_S, self._give_up)

    @property
    def may_still_send(self) -> bool:
        """The client may be in the middle of something that we shall not read."""
        return self._deaf or self.upload_unread

    def linger(self) -> None:
        """Say that no more will come, and throw away what the client still sends, for a moment."""
        self._deaf = self.lingering = True
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self._give_up)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem document, and close."""
        reason = sys.exception()
        cause = reason.__context__ if reason else None
        unknown = MalformedRequest("this is not HTTP/1.1, or its method is unknown")
        self._refuse(cause if isinstance(cause, ServiceError) else unknown)

    def _refuse(self, error: ServiceError) -> None:
        if self._deaf:
            return
        self._deaf = True
        if len(self._unanswered) > self.upload_unread:
            self.cycle.keep_alive = False  # what came before is answered first, and that is all
            return
        if not (self.upload_unread and self.cycle.response_started):
            self._send_problem(error)
        for cycle in self._unanswered:
            _disconnect(cycle)
        self.transport.close()

    def _send_problem(self, error: ServiceError) -> None:
        request_id = uuid.uuid4().hex
        body = json.dumps(to_problem(error, request_id))
        rest = (
            f"content-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}"
        )
        self.transport.write(STATUS_LINE[error.status] + rest.encode())


def _without_upgrade(data: bytes) -> bytes:
    """What comes where a head is expected, with no wish in it for another protocol: there is none here."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(rb"\1x-other\2", head) + data[len(head) :] if _UPGRADE.search(head) else data


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Let whoever answers a request know that nobody will receive it."""
    cycle.disconnected = True
    cycle.message_event.set()


class _ResponseTransport:
    """A transport that sends a response's head together with what follows it, and lets an answer be read.

    Closing a socket with unread data resets the connection, and a reset discards the answer on its way:
    closed while an upload is still arriving, it lets the client read first.
    """

    def __init__(self, transport: asyncio.Transport, protocol: EdgeProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def flush(self) -> None:
        """Send a head that nothing follows."""
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        return self._protocol.lingering or self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        if self._protocol.may_still_send and not self._transport.is_closing():
            self._transport.write_eof()
            self._protocol.linger()
        else:
            self._transport.close()
            self._protocol.expect_reading()
