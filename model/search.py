"""Captions of a batch whose pictures may want different beam widths."""

from __future__ import annotations

from collections.abc import Sequence

from model.config import Decoding
from model.decoding import Decoded, beam_search, greedy
from model.network import Decoder, Seen
from model.words import Rows


def search(network: Decoder, seen: Seen, beams: Sequence[int], limits: Decoding) -> list[Rows]:
    """
    :param seen: of B pictures
    :param beams: beam width of each picture, 1 for greedy
    :returns: the ``beam`` captions of each
    """
    found: dict[int, Rows] = {}
    for beam in set(beams):
        rows = [row for row, wanted in enumerate(beams) if wanted == beam]
        chosen = seen if len(rows) == len(beams) else seen.rows(rows)
        decoded = beam_search(network, chosen, limits, beam) if beam > 1 else greedy(network, chosen, limits)
        found.update(zip(rows, to_rows(decoded), strict=True))
    return [found[row] for row in range(len(beams))]


def to_rows(decoded: Decoded) -> list[Rows]:
    """Of each picture of the batch."""
    pairs = zip(decoded.tokens.tolist(), decoded.log_probs.tolist(), strict=True)
    return [Rows(tokens, log_probs) for tokens, log_probs in pairs]
