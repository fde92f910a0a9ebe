"""Where captions come from: a model here, or a service elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from cli.listing import STDIN
from model.errors import CaptionerError


class Captioned(Protocol):
    """What both give."""

    @property
    def text(self) -> str: ...

    @property
    def log_probability(self) -> float: ...


Ask = Callable[[Iterator[Path | bytes], int], Iterator[Captioned | Exception]]


def by_model(checkpoint: Path) -> Ask:
    """:raises CheckpointError: see :func:`model.checkpoint.load`"""
    from model.bulk import caption_many
    from model.captioner import Captioner, resolve_device

    captioner = Captioner.load(checkpoint, resolve_device("auto"))
    return lambda sources, beam: caption_many(captioner, sources, beam)


def by_service(url: str, api_key: str | None) -> Ask:
    """Where there is no service, or no way in, the whole run ends with CaptionerError: no picture would fare
    better."""
    import captioner_client as client

    hopeless = (client.ConnectionFailed, client.InvalidAnswer, client.Unauthorized)

    def ask(sources: Iterator[Path | bytes], beam: int) -> Iterator[Captioned | Exception]:
        try:
            with client.Captioner(url, api_key) as captioner:
                for result in captioner.caption_many(sources, beam=beam):
                    if isinstance(result, hopeless):
                        raise result
                    yield result
        except hopeless as error:
            raise CaptionerError(str(error)) from None

    return ask


def results(names: Iterator[str], ask: Ask, beam: int) -> Iterator[tuple[str, Captioned | Exception]]:
    """Names with their results; only those names are held that are under way."""
    under_way: deque[str] = deque()

    def sources() -> Iterator[Path | bytes]:
        for name in names:
            under_way.append(name)
            yield sys.stdin.buffer.read() if name == STDIN else Path(name)

    for result in ask(sources(), beam):
        yield under_way.popleft(), result
