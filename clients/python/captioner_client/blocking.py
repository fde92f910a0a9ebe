"""The blocking client."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import httpx

from captioner_client.errors import CaptionerError, ServiceError
from captioner_client.pictures import Picture, to_bytes
from captioner_client.protocol import (
    CONCURRENCY,
    LIMITS,
    TIMEOUT_S,
    Attempts,
    base_url,
    headers,
    query,
    read_answer,
)
from captioner_client.results import Caption


class Captioner:
    """A captioning service at an address. Any number of threads may use it at the same time."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = TIMEOUT_S) -> None:
        """
        :param url: where the service listens, ``http://127.0.0.1:8000``
        :param api_key: one of the service's keys, if it has any
        :param timeout: seconds that one picture may take, waiting and coming again included. The clock is
            looked at whenever a piece of the picture has gone or one of the answer's body has come: a
            connection that falls silent after that can take as long again. :class:`AsyncCaptioner` is exact.
        :raises ConnectionFailed: ``url`` is no address
        :raises InvalidKey: no request can carry ``api_key``
        """
        self._timeout = timeout
        self._http = httpx.Client(base_url=base_url(url), headers=headers(api_key), limits=LIMITS)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Captioner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def caption(self, picture: Picture, *, beam: int = 1, n: int = 1, tokens: bool = False) -> Caption:
        """Caption one picture: a path, its bytes, or a PIL image.

        A busy or loading service is asked again when it says, as long as ``timeout`` allows.

        :param beam: beam width, 1 (greedy) to 10
        :param n: captions wanted, best first, at most ``beam``; the others are ``alternatives``
        :param tokens: whether the log-probability of each word is wanted
        :raises CaptionerError: see :mod:`captioner_client.errors`
        """
        data = to_bytes(picture)
        attempts = Attempts(self._timeout)
        while True:
            try:
                with self._http.stream(
                    "POST",
                    "/caption",
                    params=query(beam, n, tokens),
                    files={"image": _Upload(data, attempts)},
                    timeout=attempts.left_s,
                ) as response:
                    return read_answer(response, b"".join(attempts.in_time(response.iter_bytes())))
            except (httpx.HTTPError, ServiceError) as error:
                time.sleep(attempts.pause_s(error))

    def caption_many(
        self, pictures: Iterable[Picture], *, beam: int = 1, concurrency: int = CONCURRENCY
    ) -> Iterator[Caption | CaptionerError]:
        """Caption pictures, ``concurrency`` at a time; each one's caption or error, in order.

        ``pictures`` is read only as far as needed, so that memory stays flat however many there are.
        """
        threads = ThreadPoolExecutor(concurrency, "captioner")
        waiting: deque[Future[Caption | CaptionerError]] = deque()
        try:
            for picture in pictures:
                waiting.append(threads.submit(self._outcome, picture, beam))
                if len(waiting) >= concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, picture: Picture, beam: int) -> Caption | CaptionerError:
        try:
            return self.caption(picture, beam=beam)
        except CaptionerError as error:
            return error


class _Upload(io.BytesIO):
    """A picture that is read piece by piece as it is sent. httpx limits each step, never the sum of them."""

    def __init__(self, data: bytes, attempts: Attempts) -> None:
        super().__init__(data)
        self._attempts = attempts

    def read(self, size: int | None = -1, /) -> bytes:
        self._attempts.check()
        return super().read(size)
