"""Words and their ids; captions to words and words to captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PAD, START, END, UNK = "<pad>", "<start>", "<end>", "<unk>"
SPECIALS = (PAD, START, END, UNK)
PAD_ID, START_ID, END_ID, UNK_ID = range(len(SPECIALS))

# A decimal number, a word (hyphens inside stay: "t-shirt"), what the Penn Treebank splits off ("'s", "n't").
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|o'clock\b|n't\b|[^\W\d_]+?(?=n't\b)|[^\W_]+(?:-[^\W_]+)*|'[^\W\d_]+")
_ATTACHED = re.compile(r" (?='[^\W\d_]|n't\b|[.,;:!?)])")


def tokenize(caption: str) -> list[str]:
    """Split a caption into lower-case words; punctuation is dropped, ``'s`` becomes a word of its own."""
    return _WORD.findall(caption.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def detokenize(words: Iterable[str]) -> str:
    """Write words as a person would: clitics and punctuation attach to the word before them."""
    return _ATTACHED.sub("", " ".join(words))


class Vocabulary:
    """An ordered list of words; a word's position is its id. Ids 0..3 are pad, start, end, unknown."""

    def __init__(self, words: Sequence[str]) -> None:
        """:raises ValueError: the specials are not first, or a word stands twice."""
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            raise ValueError(f"must begin with {', '.join(SPECIALS)}")
        self.words = list(words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise ValueError(f"holds the word {twice!r} twice")

    @classmethod
    def build(cls, captions: Iterable[str], threshold: int) -> Vocabulary:
        """Words that occur at least ``threshold`` times, the most frequent first (ties by spelling)."""
        counts = Counter(word for caption in captions for word in tokenize(caption))
        kept = sorted((w for w, n in counts.items() if n >= threshold), key=lambda w: (-counts[w], w))
        return cls([*SPECIALS, *kept])

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, caption: str) -> list[int]:
        """Ids of the caption's words, without start and end."""
        return [self._ids.get(word, UNK_ID) for word in tokenize(caption)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of the ids up to the first end; specials are left out."""
        words = []
        for i in ids:
            if i == END_ID:
                break
            if i >= len(SPECIALS):
                words.append(self.words[i])
        return words
