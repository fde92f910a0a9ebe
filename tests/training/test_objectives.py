from __future__ import annotations

import random

import pytest
import torch
from pycocoevalcap.cider.cider import Cider

from model.network import CaptionNetwork
from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID
from tests.model.networks import random_seen, small_checkpoint
from training.objectives import CrossEntropy, SelfCritical, _sayable, draw
from training.reward import CiderD, Rewards


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
    found = [reward.scores(i, [caption.split()])[0] for i, caption in enumerate(captions)]
    assert found == pytest.approx(list(expected), abs=1e-9)


def test_reward_of_breaking_off() -> None:
    """With the end among the words, a caption that breaks off at "a" loses what a whole one gains."""
    reward = CiderD([[[5, 6, 7, END_ID]], [[8, 9, END_ID]], [[10, END_ID]]])
    whole, cut = reward.scores(0, [[5, 6, 7, END_ID], [5, 6, 7]])
    assert whole > cut


def test_rewards_of_a_pool_are_those_of_one_process() -> None:
    references = [[[5, 6, 7], [5, 7]], [[8, 9]], [[10, 5, 6]], [[4, 5]]]
    drawn = [[[8, 9], [8, 5]], [[5, 6], [5, 6, 7]], [[10, 5], [6, 6]]]
    assert Rewards(references, workers=2).score([1, 0, 2], drawn) == Rewards(references, 0).score(
        [1, 0, 2], drawn
    )


def test_faulty_captions_earn_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    article, noun = 5, 6
    objective = SelfCritical([[[article, noun]] * 2] * 300, samples=4, max_length=6)
    assert article in objective.unfinished
    good, breaks_off, repeats = [article, noun, END_ID], [article, END_ID], [article, noun, noun, END_ID]
    too_long = [noun, article]
    monkeypatch.setattr("training.objectives.draw", lambda *_: [good, breaks_off, repeats, too_long])
    monkeypatch.setattr(objective.rewards, "score", lambda pictures, drawn: [[3.0] * 4])
    advantages = objective._advantages([0], [good, breaks_off, repeats, too_long])
    assert advantages.tolist() == pytest.approx([3 - 1, 0 - 2, 0 - 2, 3 - 1])


def test_drawn_captions_end_or_are_full() -> None:
    network = small_checkpoint(words=5, attention_size=8).network
    drawn = draw(network, random_seen(network, 50), max_length=6)
    assert len(drawn) == 50
    assert len({len(words) for words in drawn}) > 2
    for words in drawn:
        assert words[-1] == END_ID or len(words) == 7
        assert END_ID not in words[:-1]
        assert min(words) > PAD_ID


def test_captions_are_drawn_as_the_network_says() -> None:
    """Shares of the first two words among many captions of three pictures, against their probabilities."""
    torch.manual_seed(0)
    network = small_checkpoint(words=3, spread=2.0, attention_size=8).network
    seen = random_seen(network, 3)
    drawn = draw(network, seen.repeat(4000), max_length=2)
    with torch.no_grad():
        first = _sayable(network(seen, torch.full((3, 1), START_ID))[:, 0]).softmax(-1)  # [3, V]
        for picture in range(3):
            captions = drawn[picture * 4000 : (picture + 1) * 4000]
            for word in (END_ID, 4, 5, 6):
                share = sum(words[0] == word for words in captions) / 4000
                assert share == pytest.approx(float(first[picture, word]), abs=0.04)
            inputs = torch.tensor([[START_ID, 5]])
            second = _sayable(network(seen.rows([picture]), inputs)[:, 1]).softmax(-1)[0]
            after = [words[1] for words in captions if words[0] == 5]
            for word in (END_ID, 4, 5, 6) if len(after) > 500 else ():
                assert after.count(word) / len(after) == pytest.approx(float(second[word]), abs=0.1)


@pytest.mark.parametrize("attention", [0, 8])
def test_cross_entropy_leaves_padding_out(attention: int) -> None:
    """The sum over two captions of different length is the sum over their words."""
    network = small_checkpoint(attention_size=attention).network
    features = torch.randn(1, 512, 2, 2)
    long, short = [5, 6, 7, 8, 9, 10], [11]

    def loss(captions: list[list[int]]) -> float:
        objective = CrossEntropy([captions], dropout=0.0, label_smoothing=0.0)
        assert objective.total([0]) == sum(len(c) + 1 for c in captions)
        return objective.loss(network, features, [0]).item()

    assert loss([long, short]) == pytest.approx(loss([long]) + loss([short]), rel=1e-5)


def test_scheduled_sampling_shows_the_decoder_its_own_words() -> None:
    network = small_checkpoint(attention_size=8).network
    objective = CrossEntropy([[[5, 6, 7, 8]] * 20] * 2, 0.0, 0.0, scheduled_sampling=0.5)
    shown: list[torch.Tensor] = []
    unroll = network.unroll
    network.unroll = lambda seen, tokens: (shown.append(tokens), unroll(seen, tokens))[1]  # type: ignore[method-assign,assignment]
    said = torch.tensor([START_ID, 5, 6, 7, 8])
    for progress, least, most in ((0.0, 0.0, 0.0), (0.5, 0.05, 0.4), (1.0, 0.25, 0.65)):
        objective.prepare(network, progress)
        objective.loss(network, torch.randn(2, 512, 2, 2), [0, 1])
        changed = (shown[-1] != said).float()  # [20, 5]
        assert changed[:, 0].sum() == 0, "<start> stays"
        assert least <= changed[:, 1:].mean() <= most


def reward_of(objective: SelfCritical, network: CaptionNetwork, features: torch.Tensor) -> float:
    with torch.no_grad():
        drawn = draw(network, network.look(features).repeat(50), 6)
    groups = [drawn[:50], drawn[50:]]
    return sum(map(sum, objective.rewards.score([0, 1], groups))) / 100


@pytest.mark.parametrize("attention", [0, 8])
def test_self_critical_training_raises_the_reward(attention: int) -> None:
    torch.manual_seed(0)
    network = small_checkpoint(words=6, spread=1.0, attention_size=attention).network
    objective = SelfCritical([[[5, 6, 7]], [[8, 9, 5]]], samples=20, max_length=6)
    features = torch.randn(2, 512, 2, 2)
    optimizer = torch.optim.Adam([*network.lstm.parameters(), *network.output.parameters()], lr=2e-2)
    objective.prepare(network, 0.0)
    before = reward_of(objective, network, features)
    for _ in range(40):
        optimizer.zero_grad()
        (objective.loss(network, features, [0, 1]) / objective.total([0, 1])).backward()
        optimizer.step()
    assert reward_of(objective, network, features) > 2 * before + 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_self_critical_training_has_a_backward_pass_on_a_gpu() -> None:
    network = small_checkpoint(words=6).network.cuda()
    objective = SelfCritical([[[5, 6, 7]], [[8, 9, 5]]], samples=5, max_length=6)
    objective.prepare(network, 0.0)
    objective.loss(network, torch.randn(2, 512, 1, 1, device="cuda"), [0, 1]).backward()
    assert network.lstm.weight_hh_l0.grad is not None


def test_no_probability_flees_to_words_that_are_never_drawn() -> None:
    torch.manual_seed(0)
    network = small_checkpoint(words=6, spread=1.0).network
    objective = SelfCritical([[[5, 6, 7]], [[8, 9, 5]]], samples=5, max_length=6)
    objective.prepare(network, 0.0)
    objective.loss(network, torch.randn(2, 512, 1, 1), [0, 1]).backward()
    gradient = network.output.bias.grad
    assert gradient is not None
    assert gradient[[PAD_ID, START_ID, UNK_ID]].tolist() == [0, 0, 0]
    assert gradient.abs().max() > 0
