"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType

import httpx

from captioner_client.errors import CaptionerError, ServiceError, TimedOut
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


class AsyncCaptioner:
    """A captioning service at an address, for one event loop; otherwise as :class:`Captioner`."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = TIMEOUT_S) -> None:
        """
        :param url: where the service listens, ``http://127.0.0.1:8000``
        :param api_key: one of the service's keys, if it has any
        :param timeout: seconds that one picture may take, waiting and coming again included
        :raises ConnectionFailed: ``url`` is no address
        :raises InvalidKey: no request can carry ``api_key``
        """
        self._timeout = timeout
        self._http = httpx.AsyncClient(base_url=base_url(url), headers=headers(api_key), limits=LIMITS)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncCaptioner:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def caption(self, picture: Picture, *, beam: int = 1, n: int = 1, tokens: bool = False) -> Caption:
        """Caption one picture; see :meth:`Captioner.caption`.

        :raises CaptionerError: see :mod:`captioner_client.errors`
        """
        data = await asyncio.to_thread(to_bytes, picture)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._caption(data, beam, n, tokens)
        except TimeoutError:
            raise TimedOut("the service gave no answer in time") from None

    async def _caption(self, data: bytes, beam: int, n: int, tokens: bool) -> Caption:
        attempts = Attempts(self._timeout)
        while True:
            try:
                response = await self._http.post(
                    "/caption",
                    params=query(beam, n, tokens),
                    files={"image": data},
                    timeout=attempts.left_s,
                )
                return read_answer(response, response.content)
            except (httpx.HTTPError, ServiceError) as error:
                await asyncio.sleep(attempts.pause_s(error))

    async def caption_many(
        self,
        pictures: Iterable[Picture] | AsyncIterable[Picture],
        *,
        beam: int = 1,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Caption | CaptionerError]:
        """Caption pictures, ``concurrency`` at a time; each one's caption or error, in order.

        ``pictures`` is read only as far as needed, so that memory stays flat however many there are.
        """
        waiting: deque[asyncio.Task[Caption | CaptionerError]] = deque()
        try:
            async for picture in _each(pictures):
                waiting.append(asyncio.create_task(self._outcome(picture, beam)))
                if len(waiting) >= concurrency:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)  # none outlives the client it uses

    async def _outcome(self, picture: Picture, beam: int) -> Caption | CaptionerError:
        try:
            return await self.caption(picture, beam=beam)
        except CaptionerError as error:
            return error


async def _each(pictures: Iterable[Picture] | AsyncIterable[Picture]) -> AsyncIterator[Picture]:
    if isinstance(pictures, AsyncIterable):
        async for picture in pictures:
            yield picture
    else:
        for picture in pictures:
            yield picture
