"""A runner without a model, and an application on a real port around it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from model.caption import Caption, Word
from model.config import Config
from service.edge import server_config
from service.errors import DeadlinePassed
from service.runner import Inference, ModelInfo, State

WORDS = ("a", "red", "ball")


class FakeRunner:
    """Answers each picture after ``seconds``, as many at once as are asked; counts what it sees."""

    def __init__(self, seconds: float = 0.0, state: State = "ok", error: Exception | None = None) -> None:
        self.seconds = seconds
        self.state: State = state
        self.error = error
        self.seen = 0
        self.cancelled = 0
        self.most_at_once = 0
        self._running = 0
        self.devices = ["cpu"] if state == "ok" else []
        self.model: ModelInfo | None = ModelInfo(Config(name="fake", vocabulary_size=4), "# Card", "cpu")

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def reload(self) -> None: ...

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        assert pixels.shape == (224, 224, 3)
        assert pixels.dtype == np.uint8
        self.seen += 1
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.sleep(self.seconds)
        except TimeoutError:
            raise DeadlinePassed("no caption in time") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._running -= 1
        if self.error:
            raise self.error
        words = tuple(Word(word, -0.5) for word in WORDS)
        captions = [Caption(" ".join(WORDS) + " !" * n, -1.5 - n, words) for n in range(beam)]
        return Inference(captions, 0.001, self.seconds, 1)


@contextmanager
def on_a_port(app: FastAPI) -> Iterator[str]:
    """Serve the application on a free port of the loopback address; gives its URL."""
    config = server_config(app)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
