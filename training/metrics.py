"""BLEU, ROUGE-L, CIDEr-D and METEOR of captions against references, by pycocoevalcap's scorers called singly.

Captions and references are split by :func:`model.vocabulary.tokenize`, which agrees with the Penn Treebank
tokeniser of the COCO evaluation on this data and needs no Java.
"""

from __future__ import annotations

from collections.abc import Sequence
from shutil import which

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from model.vocabulary import tokenize

References = Sequence[Sequence[str]]


def cider(captions: Sequence[str], references: References) -> float:
    """CIDEr-D with document frequencies from ``references`` (0.5 where papers print 50)."""
    return float(Cider().compute_score(*_as_coco(captions, references))[0])


def all_metrics(captions: Sequence[str], references: References) -> dict[str, float]:
    """Every metric, as fractions; METEOR only where Java is present.

    :param captions: one for each picture
    :param references: for each picture its captions by people
    """
    expected, given = _as_coco(captions, references)
    bleu, _ = Bleu(4).compute_score(expected, given, verbose=0)
    scores = {f"BLEU-{n}": float(score) for n, score in enumerate(bleu, start=1)}
    scores["ROUGE-L"] = float(Rouge().compute_score(expected, given)[0])
    scores["CIDEr-D"] = cider(captions, references)
    if which("java"):
        scores["METEOR"] = float(Meteor().compute_score(expected, given)[0])
    return scores


def _as_coco(
    captions: Sequence[str], references: References
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """The scorers' own layout: picture → sentences, words parted by one space."""
    expected = {i: [" ".join(tokenize(c)) for c in group] for i, group in enumerate(references)}
    given = {i: [" ".join(tokenize(caption))] for i, caption in enumerate(captions)}
    return expected, given
