"""The HTTP edge: uvicorn's h11 protocol with a deadline on everything a client may be slow at.

Middleware runs once a request's head is complete, which is too late for a client that never completes it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.errors import MalformedRequest
from service.problems import PROBLEM_JSON, to_problem

HEAD_S = 8.0  # for the head of a request to arrive, from the connection's start or the answer before it
READ_S = 8.0  # for a client to take in what it was sent
LINGER_S = 2.0  # for a client to notice the answer to an upload that was refused half-way
MAX_HEAD_BYTES = 32_768
FORCED_STOP_S = 1


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How every front end serves its application."""
    return uvicorn.Config(
        app,
        http=EdgeProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=FORCED_STOP_S,
    )


class EdgeProtocol(H11Protocol):
    """One connection. Whatever a slow or stuck client does, it ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._lingering = False
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._read_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def _watch_head(self) -> None:
        """Hold the client to a total time for what we wait for: a head, or the rest of an answered upload."""
        answered = self.cycle is not None and self.cycle.response_complete
        waiting = self.conn.their_state is h11.IDLE or (answered and self.upload_unread)
        if waiting and not self._head_timer:
            self._head_timer = self.loop.call_later(HEAD_S, self._give_up)
        elif not waiting and self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self.transport.abort()

    @property
    def upload_unread(self) -> bool:
        """Part of a request's body has not arrived yet."""
        return self.conn.their_state is h11.SEND_BODY

    def pause_writing(self) -> None:
        super().pause_writing()
        self.expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer:
            self._read_timer.cancel()

    def expect_reading(self) -> None:
        """Hold the client to a time for taking in what is left to send."""
        if self._read_timer:
            self._read_timer.cancel()
        self._read_timer = self.loop.call_later(READ_S, self._give_up)

    def linger(self) -> None:
        """Say that no more will come, and throw away what the client still sends, for a moment."""
        self._lingering = True
        self.loop.call_later(LINGER_S, self._give_up)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem document, and close."""
        reason = sys.exception()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            too_long = getattr(reason, "error_status_hint", 400) == 431
            in_first_line = b"\n" not in self.conn.trailing_data[0]
            status = 400 if not too_long else 414 if in_first_line else 431
            request_id = uuid.uuid4().hex
            problem: dict[str, Any] = to_problem(MalformedRequest("this is not valid HTTP/1.1"), request_id)
            problem.update(status=status, title=HTTPStatus(status).phrase)
            body = json.dumps(problem).encode()
            headers = [
                ("Content-Type", PROBLEM_JSON),
                ("Content-Length", str(len(body))),
                ("X-Request-ID", request_id),
                ("Connection", "close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Lingering:
    """A transport that, closed while an upload is still arriving, lets the client read its answer first.

    Closing a socket with unread data resets the connection, and a reset discards the answer on its way.
    """

    def __init__(self, transport: asyncio.Transport, protocol: EdgeProtocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        state = self._protocol.conn.their_state
        if state in (h11.SEND_BODY, h11.ERROR) and not self._transport.is_closing():
            self._transport.write_eof()
            self._protocol.linger()
        else:
            self._transport.close()
            self._protocol.expect_reading()
