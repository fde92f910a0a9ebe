from __future__ import annotations

import random

import pytest
import torch
from pycocoevalcap.cider.cider import Cider

from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID
from tests.model.networks import small_checkpoint
from training.loop import warmup_cosine
from training.objectives import CrossEntropy, SelfCritical, draw
from training.reward import CiderD


@pytest.mark.parametrize("seed", range(3))
def test_reward_equals_pycocoevalcap(seed: int) -> None:
    rng = random.Random(seed)
    words = "abcdefgh"

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, 12)))

    references = [[sentence() for _ in range(rng.randint(1, 5))] for _ in range(30)]
    captions = [sentence() for _ in references]
    _, expected = Cider().compute_score(dict(enumerate(references)), {i: [c] for i, c in enumerate(captions)})
    reward = CiderD([[text.split() for text in group] for group in references])
    found = [reward.score(i, caption.split()) for i, caption in enumerate(captions)]
    assert found == pytest.approx(list(expected), abs=1e-9)


def test_reward_of_breaking_off() -> None:
    """With the end among the words, a caption that breaks off at "a" loses what a whole one gains."""
    reward = CiderD([[[5, 6, 7, END_ID]], [[8, 9, END_ID]], [[10, END_ID]]])
    assert reward.score(0, [5, 6, 7, END_ID]) > reward.score(0, [5, 6, 7])


def test_captions_that_break_off_earn_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    article, noun = 5, 6
    objective = SelfCritical([[[article, noun]] * 2] * 300, samples=2, max_length=6)
    assert objective.never_last == {article}
    drawn = [[article, noun, END_ID], [article, END_ID], [noun, END_ID], [article]]
    monkeypatch.setattr("training.objectives.draw", lambda *_: drawn)
    scored: list[list[int]] = []
    monkeypatch.setattr(objective.reward, "score", lambda picture, words: scored.append(words) or 1.0)
    objective.loss(small_checkpoint().network, torch.randn(2, 512), [0, 1])
    assert scored == [drawn[0], drawn[2], drawn[3]]


def test_drawn_captions_end_or_are_full() -> None:
    network = small_checkpoint(words=5).network
    drawn = draw(network, torch.randn(50, 16), max_length=6)
    assert len(drawn) == 50
    for words in drawn:
        assert words[-1] == END_ID or len(words) == 7
        assert END_ID not in words[:-1]
        assert min(words) > PAD_ID


def test_cross_entropy_leaves_padding_out() -> None:
    """The mean over two captions of different length is the mean over their words."""
    network = small_checkpoint().network
    features = torch.randn(1, 512)
    long, short = [5, 6, 7, 8, 9, 10], [11]

    def loss(captions: list[list[int]]) -> float:
        objective = CrossEntropy([captions], dropout=0.0, label_smoothing=0.0)
        return objective.loss(network, features, [0]).item()

    words = loss([long]) * 7 + loss([short]) * 2
    assert loss([long, short]) == pytest.approx(words / 9, rel=1e-5)


def test_self_critical_training_raises_the_reward() -> None:
    torch.manual_seed(0)
    network = small_checkpoint(words=6, spread=1.0).network
    objective = SelfCritical([[[5, 6, 7]], [[8, 9, 5]]], samples=20, max_length=6)
    features = torch.randn(2, 512)
    optimizer = torch.optim.Adam([*network.lstm.parameters(), *network.output.parameters()], lr=2e-2)
    objective.prepare(network)

    def reward() -> float:
        with torch.no_grad():
            drawn = draw(network, network.embed_features(features).repeat_interleave(50, 0), 6)
        return sum(objective.reward.score(i // 50, words) for i, words in enumerate(drawn)) / 100

    before = reward()
    for _ in range(40):
        optimizer.zero_grad()
        objective.loss(network, features, [0, 1]).backward()
        optimizer.step()
    assert reward() > 2 * before + 0.5


def test_no_probability_flees_to_words_that_are_never_drawn() -> None:
    torch.manual_seed(0)
    network = small_checkpoint(words=6, spread=1.0).network
    objective = SelfCritical([[[5, 6, 7]], [[8, 9, 5]]], samples=5, max_length=6)
    objective.prepare(network)
    objective.loss(network, torch.randn(2, 512), [0, 1]).backward()
    gradient = network.output.bias.grad
    assert gradient is not None
    assert gradient[[PAD_ID, START_ID, UNK_ID]].tolist() == [0, 0, 0]
    assert gradient.abs().max() > 0


def test_learning_rate_rises_then_falls() -> None:
    assert warmup_cosine(0.0, 0.1) == 0
    assert warmup_cosine(0.05, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(0.1, 0.1) == pytest.approx(1)
    assert warmup_cosine(0.55, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(1.0, 0.1) == pytest.approx(0)
    assert warmup_cosine(0.0, 0.0) == 1
