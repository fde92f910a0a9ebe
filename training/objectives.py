"""What a phase minimises: cross-entropy against people's captions, or the negative CIDEr-D of drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from model.network import CaptionNetwork, Seen
from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID
from training.fluency import breaks_off, repetition, unfinished_endings
from training.reward import Rewards

Captions = Sequence[Sequence[list[int]]]
"""For each picture its captions as word ids, without start and end."""


class Objective(Protocol):
    """A loss on a batch of pictures, and the mode the network must be in for it."""

    def prepare(self, network: CaptionNetwork, progress: float) -> None:
        """Called before each step; ``progress`` (0..1) says how much of the phase is over."""
        ...

    def total(self, rows: list[int]) -> float:
        """What the losses of all parts of a batch are to be divided by."""
        ...

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        """A scalar, summed over the pictures at positions ``rows``, from their features [B, C, H, W]."""
        ...


class CrossEntropy:
    """Negative log-probability of the words of every caption, with teacher forcing.

    With scheduled sampling (Bengio et al. 2015) a rising part of the words that the decoder is shown are its
    own guesses, all drawn at once from a first pass (Mihaylova, Martins 2019).
    """

    def __init__(
        self, captions: Captions, dropout: float, label_smoothing: float, scheduled_sampling: float = 0.0
    ) -> None:
        self.captions = captions
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.scheduled_sampling = scheduled_sampling
        self.own_words = 0.0

    def prepare(self, network: CaptionNetwork, progress: float) -> None:
        """Dropout on; the encoder's BatchNorm keeps its statistics, which small batches would spoil."""
        network.train()
        network.encoder.eval()
        network.dropout.p = self.dropout
        self.own_words = self.scheduled_sampling * progress

    def total(self, rows: list[int]) -> float:
        """The number of words, ends included."""
        return sum(len(caption) + 1 for row in rows for caption in self.captions[row])

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        seen = network.look(features)
        said = [(i, caption) for i, row in enumerate(rows) for caption in self.captions[row]]  # N captions
        # The shorter half runs apart, without the padding that the longer half would lay on it.
        said.sort(key=lambda pair: len(pair[1]))
        half = len(said) // 2
        return torch.stack(
            [self._sum(network, seen, part) for part in (said[:half], said[half:]) if part]
        ).sum()

    def _sum(self, network: CaptionNetwork, seen: Seen, said: list[tuple[int, list[int]]]) -> Tensor:
        """Sum over the words of some captions, each with its picture's position in the batch."""
        inputs, targets = _teacher([caption for _, caption in said], seen.embedding.device)  # [N, T]
        shown = seen.rows([i for i, _ in said])
        if self.own_words:
            inputs = self._with_own_words(network, shown, inputs)
        hidden = network.unroll(shown, inputs)  # [N, T, hidden_size]
        real = targets != PAD_ID  # [N, T]; W of them
        logits = network.output(hidden[real]).float()  # [W, V]
        return functional.cross_entropy(
            logits, targets[real], label_smoothing=self.label_smoothing, reduction="sum"
        )

    @torch.no_grad()
    def _with_own_words(self, network: CaptionNetwork, seen: Seen, inputs: Tensor) -> Tensor:
        """``inputs`` [N, T] with some words, never ``<start>``, replaced by the decoder's guesses."""
        logits = _sayable(network(seen, inputs[:, :-1]).flatten(0, 1))  # [N · (T - 1), V]
        guesses = torch.multinomial(logits.softmax(dim=-1), 1).view(len(inputs), -1)  # [N, T - 1]
        own = torch.rand(guesses.shape, device=inputs.device) < self.own_words
        own &= inputs[:, 1:] != PAD_ID
        return torch.cat([inputs[:, :1], torch.where(own, guesses, inputs[:, 1:])], dim=1)


class SelfCritical:
    """REINFORCE on CIDEr-D (Rennie et al. 2017); a drawn caption's baseline is the mean of its siblings."""

    def __init__(self, captions: Captions, samples: int, max_length: int, workers: int = 0) -> None:
        self.samples = samples
        self.max_length = max_length
        # <end> counts as a word: without it, captions learn to break off at "a" or "with".
        self.rewards = Rewards([[[*caption, END_ID] for caption in group] for group in captions], workers)
        self.unfinished = unfinished_endings(captions)
        lengths = [len(caption) + 1 for group in captions for caption in group]
        self.mean_length = sum(lengths) / len(lengths)

    def prepare(self, network: CaptionNetwork, progress: float) -> None:
        """No dropout: the network that draws is the one that learns, and the one that will be served."""
        network.eval()
        # cuDNN has a backward pass in training mode alone; an LSTM without dropout does the same in both.
        network.lstm.train(network.mean.is_cuda)

    def total(self, rows: list[int]) -> float:
        """About the number of words that will be drawn."""
        return len(rows) * self.samples * self.mean_length

    def loss(self, network: CaptionNetwork, features: Tensor, rows: list[int]) -> Tensor:
        seen = network.look(features)
        everyone = seen.repeat(self.samples)  # N captions: samples of each picture
        sentences = draw(network, everyone, self.max_length)
        advantages = self._advantages(rows, sentences).to(features.device)  # [N]
        # As in cross-entropy: the shorter half apart.
        by_length = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        half = len(by_length) // 2
        losses = []
        for part in (by_length[:half], by_length[half:]):
            inputs, targets = _teacher([sentences[i] for i in part], features.device, end=False)  # [n, T]
            real = targets != PAD_ID  # [n, T]; W of them
            logits = _sayable(network.output(network.unroll(everyone.rows(part), inputs)[real]))  # [W, V]
            weights = advantages[part, None].expand_as(real)[real]  # [W]
            losses.append((weights * functional.cross_entropy(logits, targets[real], reduction="none")).sum())
        return torch.stack(losses).sum()

    def _advantages(self, rows: list[int], sentences: list[list[int]]) -> Tensor:
        """How much better than its siblings each caption is: [N]."""
        drawn = [sentences[i : i + self.samples] for i in range(0, len(sentences), self.samples)]
        scores = self.rewards.score(rows, drawn)
        for group, group_scores in zip(drawn, scores, strict=True):
            for i, sentence in enumerate(group):
                if self._is_faulty(sentence):
                    group_scores[i] = 0.0
        rewards = torch.tensor(scores)  # [B, samples]
        siblings = (rewards.sum(dim=1, keepdim=True) - rewards) / (self.samples - 1)
        return (rewards - siblings).view(-1)

    def _is_faulty(self, sentence: list[int]) -> bool:
        """CIDEr-D likes "in front of a" better than a wrong noun at the end of it, and does not mind words
        said twice; people do."""
        if sentence[-1] != END_ID:
            return False
        return breaks_off(sentence[:-1], self.unfinished) or bool(repetition(sentence[:-1]))


@torch.no_grad()
def draw(network: CaptionNetwork, seen: Seen, max_length: int) -> list[list[int]]:
    """A caption for each of N pictures, drawn word by word from the network's distribution.

    :returns: word ids of each, with ``<end>`` last where it came within ``max_length`` words
    """
    device = seen.embedding.device
    drawn: list[list[int]] = [[] for _ in range(len(seen.embedding))]
    going = torch.arange(len(drawn), device=device)  # captions that have not ended: n of them
    state = network.start(seen)
    word = torch.full_like(going, START_ID)  # [n]
    for _ in range(max_length + 1):
        logits, state = network.step(word, state)  # [n, V]
        word = torch.multinomial(_sayable(logits).softmax(dim=-1), 1).squeeze(1)
        for caption, i in zip(going.tolist(), word.tolist(), strict=True):
            drawn[caption].append(i)
        on = (word != END_ID).nonzero().squeeze(1)
        if not len(on):
            break
        if len(on) < len(going):
            going, word, state = going[on], word[on], state.rows(on)
    return drawn


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
