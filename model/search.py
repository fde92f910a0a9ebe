"""Captions of a batch whose pictures may want different beam widths."""

from __future__ import annotations

from collections.abc import Sequence

from model.config import Decoding
from model.decoding import Decoded, beam_search, greedy
from model.network import Decoder, Seen
from model.words import Rows, by_beam_width


def search(network: Decoder, seen: Seen, beams: Sequence[int], limits: Decoding) -> list[Rows]:
    """
    :param seen: of B pictures
    :param beams: beam width of each picture, 1 for greedy
    :returns: the ``beam`` captions of each
    """

    def search_some(beam: int, pictures: list[int]) -> list[Rows]:
        chosen = seen if len(pictures) == len(beams) else seen.rows(pictures)
        if beam == 1:
            return to_rows(greedy(network, chosen, limits))
        return to_rows(beam_search(network, chosen, limits, beam))

    return by_beam_width(beams, search_some)


def to_rows(decoded: Decoded) -> list[Rows]:
    """Of each picture of the batch."""
    pairs = zip(decoded.tokens.tolist(), decoded.log_probs.tolist(), strict=True)
    return [Rows(tokens, log_probs) for tokens, log_probs in pairs]
