"""What ``front_end.py`` measures, each served by a process of its own on a socket that is open already.

python benchmarks/stand_ins.py NAME SOCKET_FD BOARD INDEX FRONT_ENDS
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, UploadFile
from numpy.typing import NDArray

from model.caption import Caption, Word
from model.config import Config, Preprocessing
from service.app import create_app
from service.board import Board
from service.decode import DecodePool
from service.edge import server_config
from service.frontend import Server
from service.logs import set_up_logging
from service.runner import Inference, ModelInfo, State
from service.settings import Settings

CAPTION = "a black dog runs through the grass"
WORDS = tuple(Word(word, -0.5) for word in CAPTION.split())


class FreeModel:
    """Captions every picture alike, at once."""

    state: State = "ok"
    devices = ("cpu",)
    model = ModelInfo(Config(name="free", vocabulary_size=4), "# Card", "cpu")

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def reload(self) -> None: ...

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        captions = [Caption(CAPTION, -3.5, WORDS)] * beam
        return Inference(captions, 0.0001, 0.0001, 1)


class FreeDecoder(DecodePool):
    """Decodes every picture to the same pixels, at once."""

    PIXELS = np.zeros((224, 224, 3), np.uint8)

    async def decode(
        self, data: bytes, preprocessing: Preprocessing, deadline: float, alone: bool
    ) -> NDArray[np.uint8]:
        return self.PIXELS


def service(board: Path, index: int, front_ends: int) -> uvicorn.Config:
    """A front end as :mod:`service.frontend` makes it, but for its model and its decoder."""
    settings = Settings(http_workers=front_ends)
    set_up_logging(settings.log_format, settings.log_level)
    shared = Board.attach(board, front_ends, 1)
    decoder = FreeDecoder(settings.max_image_pixels)
    return server_config(create_app(settings, FreeModel(), shared, index, decoder))


def bare() -> uvicorn.Config:
    """FastAPI as its tutorial has it: a form's file, and a raw body, both read whole."""
    app = FastAPI()

    @app.post("/caption")
    async def caption(image: UploadFile) -> dict[str, int | str]:
        return {"caption": CAPTION, "bytes": len(await image.read())}

    @app.post("/raw")
    async def raw(request: Request) -> dict[str, int | str]:
        return {"caption": CAPTION, "bytes": len(await request.body())}

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    return uvicorn.Config(app, access_log=False, log_level="warning")


def main() -> None:
    name, descriptor, board, index, front_ends = sys.argv[1:]
    config = bare() if name == "bare" else service(Path(board), int(index), int(front_ends))
    Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main()
