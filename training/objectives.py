"""What a phase minimises: cross-entropy against people's captions, or the negative CIDEr-D of drawn ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from model.network import CaptionNetwork
from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID
from training.reward import CiderD

RARELY_LAST = 250

Captions = Sequence[Sequence[list[int]]]
"""For each picture its captions as word ids, without start and end."""


class Objective(Protocol):
    """A loss on a batch of pictures, and the mode the network must be in for it."""

    def prepare(self, network: CaptionNetwork) -> None: ...

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        """A scalar, from pooled features [B, C] of the pictures at positions ``rows``."""
        ...


class CrossEntropy:
    """Mean negative log-probability of the words of every caption, with teacher forcing."""

    def __init__(self, captions: Captions, dropout: float, label_smoothing: float) -> None:
        self.captions = captions
        self.dropout = dropout
        self.label_smoothing = label_smoothing

    def prepare(self, network: CaptionNetwork) -> None:
        """Dropout on; the encoder's BatchNorm keeps its statistics, which small batches would spoil."""
        network.train()
        network.encoder.eval()
        network.dropout.p = self.dropout

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        embedding = network.embed_features(features)  # [B, embed_size]
        said = [(i, caption) for i, row in enumerate(rows) for caption in self.captions[row]]  # N captions
        # The shorter half runs apart, without the padding that the longer half would lay on it.
        said.sort(key=lambda pair: len(pair[1]))
        half = len(said) // 2
        losses = [self._sum(network, embedding, part) for part in (said[:half], said[half:]) if part]
        return torch.stack(losses).sum() / sum(len(caption) + 1 for _, caption in said)

    def _sum(self, network: CaptionNetwork, embedding: Tensor, said: list[tuple[int, list[int]]]) -> Tensor:
        """Sum over the words of some captions, each with its picture's position in the batch."""
        inputs, targets = _teacher([caption for _, caption in said], embedding.device)  # [N, T]
        pictures = torch.tensor([i for i, _ in said], device=embedding.device)
        hidden = network.unroll(embedding[pictures], inputs)  # [N, T, hidden_size]
        real = targets != PAD_ID  # [N, T]; W of them
        logits = network.output(hidden[real]).float()  # [W, V]
        return functional.cross_entropy(
            logits, targets[real], label_smoothing=self.label_smoothing, reduction="sum"
        )


class SelfCritical:
    """REINFORCE on CIDEr-D (Rennie et al. 2017); a drawn caption's baseline is the mean of its siblings."""

    def __init__(self, captions: Captions, samples: int, max_length: int) -> None:
        self.samples = samples
        self.max_length = max_length
        # <end> counts as a word: without it, captions learn to break off at "a" or "with".
        self.reward = CiderD([[[*caption, END_ID] for caption in group] for group in captions])
        self.never_last = _never_last(captions)

    def prepare(self, network: CaptionNetwork) -> None:
        """No dropout: the network that draws is the one that learns, and the one that will be served."""
        network.eval()

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        embedding = network.embed_features(features).repeat_interleave(self.samples, dim=0)  # [N, embed_size]
        sentences = draw(network, embedding.detach(), self.max_length)
        scores = [
            0.0 if self._breaks_off(sentence) else self.reward.score(rows[i // self.samples], sentence)
            for i, sentence in enumerate(sentences)
        ]
        rewards = torch.tensor(scores, device=features.device).view(-1, self.samples)  # [B, samples]
        siblings = (rewards.sum(dim=1, keepdim=True) - rewards) / (self.samples - 1)
        advantage = (rewards - siblings).view(-1)  # [N]
        inputs, targets = _teacher(sentences, features.device, end=False)  # [N, T]
        real = targets != PAD_ID  # [N, T]; W of them
        logits = _sayable(network.output(network.unroll(embedding, inputs)[real]))  # [W, V]
        weights = advantage[:, None].expand_as(real)[real]  # [W]
        return (weights * functional.cross_entropy(logits, targets[real], reduction="none")).mean()

    def _breaks_off(self, sentence: list[int]) -> bool:
        """CIDEr-D likes "in front of a" better than a wrong noun at the end of it; people do not."""
        return len(sentence) > 1 and sentence[-1] == END_ID and sentence[-2] in self.never_last


def _never_last(captions: Captions) -> set[int]:
    """Words that end a caption less than once in :data:`RARELY_LAST` uses: articles and their like."""
    used = Counter(word for group in captions for caption in group for word in caption)
    last = Counter(caption[-1] for group in captions for caption in group if caption)
    return {word for word, uses in used.items() if uses > RARELY_LAST * (last[word] + 1)}


@torch.no_grad()
def draw(network: CaptionNetwork, embedding: Tensor, max_length: int) -> list[list[int]]:
    """A caption for each embedding [N, embed_size], drawn word by word from the network's distribution.

    :returns: word ids of each, with ``<end>`` last where it came within ``max_length`` words
    """
    state = network.start(embedding)
    word = torch.full(embedding.shape[:1], START_ID, device=embedding.device)  # [N]
    ended = torch.zeros_like(word, dtype=torch.bool)
    words: list[Tensor] = []
    while len(words) <= max_length and not ended.all():
        logits, state = network.step(word, state)  # [N, V]
        word = torch.multinomial(_sayable(logits).softmax(dim=-1), 1).squeeze(1).masked_fill(ended, PAD_ID)
        words.append(word)
        ended = ended | (word == END_ID)
    return [[i for i in row if i != PAD_ID] for row in torch.stack(words, dim=1).tolist()]


def _sayable(logits: Tensor) -> Tensor:
    """Logits [N, V] without the words that are never said. Drawing and learning must share them: of words
    that cannot be drawn none is ever punished, and probability would flee there."""
    never = torch.tensor([PAD_ID, START_ID, UNK_ID], device=logits.device)
    return logits.float().index_fill(1, never, float("-inf"))


def _teacher(sentences: Sequence[list[int]], device: torch.device, end: bool = True) -> tuple[Tensor, Tensor]:
    """Inputs ``<start> w1 .. wn`` and targets ``w1 .. wn <end>``, both int64 [N, T], padded.

    Sentences that hold their ``<end>`` already (``end`` False) give one input less.
    """
    close = [END_ID] if end else []
    targets = [torch.tensor([*sentence, *close]) for sentence in sentences]
    inputs = [torch.tensor([START_ID, *target[:-1]]) for target in targets]
    padded = [
        pad_sequence(rows, batch_first=True, padding_value=PAD_ID).to(device) for rows in (inputs, targets)
    ]
    return padded[0], padded[1]
