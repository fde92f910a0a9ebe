"""What the blocking and the asyncio client share: all but the waiting."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from captioner_client.errors import (
    BY_STATUS,
    Busy,
    CaptionerError,
    ConnectionFailed,
    InvalidAnswer,
    InvalidKey,
    ServiceError,
    TimedOut,
    Unavailable,
)
from captioner_client.results import Caption

TIMEOUT_S = 60.0
CONCURRENCY = 16
SHORTEST_PAUSE_S = 0.1
LIMITS = httpx.Limits(max_connections=None)  # callers say how many at a time; httpx would stop at 100
# A connection that was kept open may be closed at the moment it is used again; captioning twice is harmless.
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
# The service tried twice already, and the picture may be to blame: a third time might cost it another worker.
NOT_AGAIN = frozenset(("worker-lost", "inference-failed", "internal"))


def base_url(url: str) -> httpx.URL:
    """:raises ConnectionFailed: it is no address"""
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        shown = re.sub("//.*@", "//", url)  # without a password
        raise ConnectionFailed(f"{shown!r} is no address: {error}") from None


def headers(api_key: str | None) -> dict[str, str]:
    """:raises InvalidKey: no header can carry it"""
    named = {"User-Agent": "captioner-client"}
    if not api_key:
        return named
    if not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise InvalidKey("the API key may have printable ASCII characters only, and no space around them")
    return {**named, "Authorization": f"Bearer {api_key}"}


def query(beam: int, n: int, tokens: bool) -> dict[str, Any]:
    return {"beam": beam, "n": n, "tokens": tokens}


class Attempts:
    """How often and when one picture is sent again, within ``timeout`` seconds in all."""

    def __init__(self, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._may_resend = True

    @property
    def left_s(self) -> float:
        """Seconds left for an attempt, above zero as httpx wants it."""
        return max(self._deadline - time.monotonic(), 0.001)

    def check(self) -> None:
        """:raises TimedOut: there is no time left"""
        if time.monotonic() > self._deadline:
            raise TimedOut("the service gave no answer in time")

    def in_time(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """:raises TimedOut: they do not come in time, be each as quick as it may"""
        for part in parts:
            self.check()
            yield part

    def pause_s(self, error: Exception) -> float:
        """Seconds to wait before the next attempt.

        :raises CaptionerError: there is no use in another attempt, or no time
        """
        if isinstance(error, BROKEN) and self._may_resend:
            self._may_resend = False
            return 0.0
        if isinstance(error, (Busy, Unavailable)) and error.retry_after is not None:
            if error.retry_after < self.left_s and error.code not in NOT_AGAIN:
                return max(error.retry_after, SHORTEST_PAUSE_S)
            raise error
        if isinstance(error, httpx.TimeoutException):
            raise TimedOut("the service gave no answer in time") from error
        if isinstance(error, CaptionerError):
            raise error
        if isinstance(error, httpx.ConnectError):
            raise ConnectionFailed(
                f"nothing answers at {error.request.url.copy_with(raw_path=b'/', userinfo=b'')}"
            ) from error
        raise ConnectionFailed(f"the service cannot be reached: {error}") from error


def read_answer(response: httpx.Response, body: bytes) -> Caption:
    """:raises ServiceError: the service refused
    :raises InvalidAnswer: this is no answer of a captioning service
    """
    if response.status_code >= 400:
        raise _error(response, body)
    try:
        return Caption.from_json(json.loads(body))
    except (LookupError, TypeError, ValueError, AttributeError):
        raise InvalidAnswer(
            f"{response.url.host} answered {response.status_code} with something that is no caption"
        ) from None


def _error(response: httpx.Response, body: bytes) -> ServiceError:
    status = response.status_code
    try:
        problem = json.loads(body)
        title, detail = str(problem["title"]), str(problem["detail"])
        code = str(problem["type"]).rpartition(":")[2]
    except (LookupError, TypeError, ValueError):  # a proxy's own page
        title, code = response.reason_phrase, ""
        detail = f"{response.url.host} answered {status} {title}"
    request_id = response.headers.get("X-Request-ID", "")
    retry_after = _seconds(response.headers.get("Retry-After", ""))
    return BY_STATUS.get(status, ServiceError)(status, title, detail, request_id, retry_after, code)


def _seconds(retry_after: str) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    try:
        if retry_after.isdecimal():
            return float(retry_after)
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a time zone
        return None
