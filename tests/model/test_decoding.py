from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.captioner import Captioner
from model.config import Decoding
from model.decoding import beam_search, greedy, greedy_to_the_end
from model.network import CaptionNetwork, Seen
from model.vocabulary import END_ID, PAD_ID, SPECIALS, START_ID, UNK_ID
from tests.model.networks import SIZE, random_seen, small_checkpoint

SEEDS = st.integers(0, 10_000)
ATTENTION = pytest.mark.parametrize("attention", [0, 8])


def words_of(row: torch.Tensor) -> list[int]:
    return [i for i in row.tolist() if i not in (END_ID, PAD_ID)]


@torch.inference_mode()
def score(network: CaptionNetwork, seen: Seen, words: tuple[int, ...]) -> float:
    """Log-probability of a whole caption with its end, by teacher forcing."""
    inputs = torch.tensor([[START_ID, *words]])
    log_probs = network(seen, inputs).log_softmax(-1)[0]
    return sum(float(log_probs[i, word]) for i, word in enumerate((*words, END_ID)))


def allowed(words: tuple[int, ...], n: int) -> bool:
    grams = [words[i : i + n] for i in range(len(words) - n + 1)]
    return all(a != b for a, b in pairwise(words)) and len(set(grams)) == len(grams)


@ATTENTION
@pytest.mark.parametrize("seed", range(3))
def test_wide_beam_finds_the_best_of_all_captions(seed: int, attention: int) -> None:
    limits = Decoding(max_length=4, no_repeat_ngram=2)
    network = small_checkpoint(
        words=3, decoding=limits, seed=seed, spread=2.0, attention_size=attention
    ).network
    seen = random_seen(network, 1, seed)
    vocabulary = range(len(SPECIALS), len(SPECIALS) + 3)
    every = [w for n in range(1, 5) for w in product(vocabulary, repeat=n) if allowed(w, 2)]
    ranked = sorted(((score(network, seen, words), words) for words in every), reverse=True)
    found = beam_search(network, seen, limits, width=len(every))
    assert [tuple(words_of(row)) for row in found.tokens[0, :5]] == [words for _, words in ranked[:5]]
    expected = torch.tensor([total for total, _ in ranked[:5]])
    torch.testing.assert_close(found.log_probs[0, :5].sum(-1), expected, rtol=0, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_greedy_is_a_beam_of_one(seed: int) -> None:
    checkpoint = small_checkpoint(seed=seed, attention_size=8)
    seen = random_seen(checkpoint.network, 4, seed)
    one = greedy(checkpoint.network, seen, checkpoint.config.decoding)
    beam = beam_search(checkpoint.network, seen, checkpoint.config.decoding, width=1)
    assert torch.equal(one.tokens, beam.tokens)
    torch.testing.assert_close(one.log_probs, beam.log_probs)


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    spread=st.sampled_from([0.5, 4.0, 12.0]),
    ngram=st.integers(0, 3),
    predicts_start=st.booleans(),
    attention=st.sampled_from([0, 8]),
)
def test_greedy_to_the_end_is_greedy(
    seed: int, spread: float, ngram: int, predicts_start: bool, attention: int
) -> None:
    limits = Decoding(max_length=9, no_repeat_ngram=ngram, predicts_start=predicts_start)
    network = small_checkpoint(
        words=6, decoding=limits, seed=seed, spread=spread, attention_size=attention
    ).network
    seen = random_seen(network, 5, seed)
    expected, decoded = greedy(network, seen, limits), greedy_to_the_end(network, seen, limits)
    length = expected.tokens.shape[-1]
    assert torch.equal(decoded.tokens[..., :length], expected.tokens)
    torch.testing.assert_close(decoded.log_probs[..., :length], expected.log_probs)
    assert (decoded.tokens[..., length:] == PAD_ID).all()
    assert (decoded.log_probs[..., length:] == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, width=st.integers(1, 5), spread=st.sampled_from([0.5, 4.0, 12.0]))
def test_captions_keep_the_limits(seed: int, width: int, spread: float) -> None:
    limits = Decoding(max_length=9, no_repeat_ngram=3)
    network = small_checkpoint(words=6, decoding=limits, seed=seed, spread=spread).network
    seen = random_seen(network, 3, seed)
    decoded = greedy(network, seen, limits) if width == 1 else beam_search(network, seen, limits, width)
    totals = decoded.log_probs.sum(-1)
    assert (totals.diff(dim=1) <= 1e-5).all(), "best first"
    for row in decoded.tokens.flatten(0, 1):
        words = words_of(row)
        assert 1 <= len(words) <= 9
        assert not {PAD_ID, START_ID, UNK_ID} & set(words)
        assert allowed(tuple(words), 3)
        assert row.tolist()[len(words)] == END_ID
        assert set(row.tolist()[len(words) + 1 :]) <= {PAD_ID}


@ATTENTION
def test_log_probabilities_are_the_networks_own(attention: int) -> None:
    checkpoint = small_checkpoint(attention_size=attention)
    seen = random_seen(checkpoint.network, 1)
    decoded = greedy(checkpoint.network, seen, checkpoint.config.decoding)
    expected = score(checkpoint.network, seen, tuple(words_of(decoded.tokens[0, 0])))
    assert float(decoded.log_probs.sum()) == pytest.approx(expected, abs=1e-4)


@ATTENTION
@pytest.mark.parametrize("beam", [1, 3])
def test_a_caption_does_not_depend_on_its_batch(beam: int, attention: int) -> None:
    captioner = Captioner.on_torch(small_checkpoint(seed=3, attention_size=attention))
    pixels = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)
    together = captioner.caption(pixels, [beam] * 7)
    alone = [captioner.caption(pixels[i : i + 1], [beam])[0] for i in range(7)]
    for many, one in zip(together, alone, strict=True):
        assert isinstance(many, list)
        assert isinstance(one, list)
        assert [c.text for c in many] == [c.text for c in one]
        assert [c.log_probability for c in many] == pytest.approx([c.log_probability for c in one], abs=1e-3)


@ATTENTION
def test_beam_widths_may_differ_within_a_batch(attention: int) -> None:
    captioner = Captioner.on_torch(small_checkpoint(seed=4, attention_size=attention))
    pixels = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    mixed = captioner.caption(pixels, [1, 3, 1, 2])
    assert [len(captions) for captions in mixed if isinstance(captions, list)] == [1, 3, 1, 2]
    for i, beam in enumerate([1, 3, 1, 2]):
        alone = captioner.caption(pixels[i : i + 1], [beam])[0]
        assert isinstance(alone, list)
        assert isinstance(mixed[i], list)
        assert [c.text for c in mixed[i]] == [c.text for c in alone]  # type: ignore[union-attr]


def test_values_that_are_not_finite_are_an_error_not_a_caption() -> None:
    checkpoint = small_checkpoint()
    with torch.no_grad():
        checkpoint.network.output.bias.fill_(float("nan"))
    pixels = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)
    result = Captioner.on_torch(checkpoint).caption(pixels, [1])[0]
    assert not isinstance(result, list)
    assert "no finite caption" in str(result)
