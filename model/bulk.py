"""Captioning many pictures without a server: decoding runs ahead in threads while the network works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.caption import Caption
from model.captioner import Captioner
from model.config import Preprocessing
from model.errors import CaptionerError, UnreadablePicture
from model.preprocessing import load_pixels

Source = Path | bytes | Callable[[], bytes]
"""A picture, or a function that fetches it; it is called in a thread, and may raise OSError."""


def caption_many(
    captioner: Captioner, sources: Iterable[Source], beam: int = 1, batch_size: int | None = None
) -> Iterator[Caption | CaptionerError]:
    """The best caption of each picture in order, or why it has none; memory stays flat.

    :param batch_size: what suits the device unless given
    """
    remaining = iter(sources)
    batch_size = batch_size or captioner.batch_size
    with ThreadPoolExecutor(os.cpu_count(), "decode") as threads:

        def decode_next() -> list[NDArray[np.uint8] | CaptionerError] | None:
            batch = list(islice(remaining, batch_size))
            return list(threads.map(lambda s: decode(s, captioner.config.preprocessing), batch)) or None

        with ThreadPoolExecutor(1, "ahead") as ahead:
            coming = ahead.submit(decode_next)
            under_way: list[Callable[[], Iterator[Caption | CaptionerError]]] = []
            while decoded := coming.result():
                coming = ahead.submit(decode_next)
                under_way.append(_begin(captioner, decoded, beam, batch_size))
                if len(under_way) > captioner.overlaps:
                    yield from under_way.pop(0)()
            for results in under_way:
                yield from results()


def decode(source: Source, preprocessing: Preprocessing) -> NDArray[np.uint8] | CaptionerError:
    """Its pixels, uint8 [S, S, 3], or why there are none."""
    try:
        return load_pixels(source() if callable(source) else source, preprocessing)
    except CaptionerError as error:
        return error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return UnreadablePicture(f"the file cannot be read: {reason}")


def _begin(
    captioner: Captioner, decoded: list[NDArray[np.uint8] | CaptionerError], beam: int, batch_size: int
) -> Callable[[], Iterator[Caption | CaptionerError]]:
    """Start a batch; what it gives waits for the captions."""
    pixels = [entry for entry in decoded if not isinstance(entry, CaptionerError)]
    if len(pixels) == batch_size and beam == 1:
        captioner.record([batch_size])  # worth it for as many
    wait = captioner.begin(pixels, [beam] * len(pixels)) if pixels else list

    def results() -> Iterator[Caption | CaptionerError]:
        captions = iter(wait())
        for entry in decoded:
            if isinstance(entry, CaptionerError):
                yield entry
            else:
                result = next(captions)
                yield result if isinstance(result, CaptionerError) else result[0]

    return results
