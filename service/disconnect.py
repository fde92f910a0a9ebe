"""Stops work for a client that went away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from service.middleware import ClientGone

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; if the client disconnects first, the work is cancelled.

    To be called once the request's body has been read: from then on nothing but the disconnect can come.

    :raises ClientGone: the client went away
    """
    working = asyncio.current_task()
    assert working
    done = gone = False

    def stop(_: asyncio.Task[None]) -> None:
        nonlocal gone
        if not done:
            gone = True
            working.cancel()

    watching = asyncio.ensure_future(_disconnected(request))
    watching.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and not working.uncancel():
            raise ClientGone from None
        raise
    finally:
        done = True
        watching.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
