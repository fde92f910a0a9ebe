"""Where captions come from: a model here, or a service elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cli.listing import STDIN
from model.config import Precision
from model.errors import CaptionerError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 10 * 2**20  # that a service takes unless it was told otherwise
LONGEST_SIDE = 1280  # pixels of a picture that has more bytes; the model looks at far fewer


class Captioned(Protocol):
    """What both give."""

    @property
    def text(self) -> str: ...

    @property
    def log_probability(self) -> float: ...


Ask = Callable[[Iterator[Path | bytes], int], Iterator[Captioned | Exception]]


def by_model(checkpoint: Path, precision: Precision) -> Ask:
    """
    :raises CheckpointError: see :func:`model.checkpoint.load`
    :raises CaptionerError: the precision cannot be had here
    """
    from model.bulk import caption_many
    from model.captioner import Captioner, resolve_device
    from model.memory import MOST, keep_blocks

    keep_blocks(MOST)
    captioner = Captioner.load(checkpoint, resolve_device("auto", precision), "auto", precision)
    return lambda sources, beam: caption_many(captioner, sources, beam)


def by_service(url: str, api_key: str | None) -> Ask:
    """Where there is no service, or no way in, the whole run ends with CaptionerError: no picture would fare
    better."""
    import captioner_client as client

    hopeless = (client.ConnectionFailed, client.InvalidAnswer, client.InvalidKey, client.Unauthorized)

    def ask(sources: Iterator[Path | bytes], beam: int) -> Iterator[Captioned | Exception]:
        try:
            with client.Captioner(url, api_key) as captioner:
                for result in captioner.caption_many(map(within_limit, sources), beam=beam):
                    if isinstance(result, hopeless):
                        raise result
                    yield result
        except hopeless as error:
            raise CaptionerError(str(error)) from None

    return ask


def within_limit(picture: Path | bytes) -> Path | bytes | Image:
    """The picture, or a smaller one where it has more bytes than a service takes."""
    try:
        size = len(picture) if isinstance(picture, bytes) else picture.stat().st_size
        if size <= MAX_BYTES:
            return picture
        from model.config import MAX_IMAGE_PIXELS, Preprocessing
        from model.preprocessing import open_picture

        smaller = open_picture(picture, Preprocessing(image_size=LONGEST_SIDE // 2), MAX_IMAGE_PIXELS)
    except (OSError, CaptionerError):
        return picture  # whoever reads it next says what is wrong with it
    smaller.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return smaller


def results(names: Iterator[str], ask: Ask, beam: int) -> Iterator[tuple[str, Captioned | Exception]]:
    """Names with their results; only those names are held that are under way."""
    under_way: deque[str] = deque()

    def sources() -> Iterator[Path | bytes]:
        for name in names:
            under_way.append(name)
            yield sys.stdin.buffer.read() if name == STDIN else Path(name)

    for result in ask(sources(), beam):
        yield under_way.popleft(), result
