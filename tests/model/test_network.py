from __future__ import annotations

import pytest
import torch

from model.config import Architecture, Config
from model.network import CaptionNetwork
from tests.model.networks import random_seen, small_checkpoint


@pytest.mark.parametrize("attention", [0, 8])
def test_steps_say_what_teacher_forcing_says(attention: int) -> None:
    network = small_checkpoint(attention_size=attention).network
    seen = random_seen(network, 3)
    tokens = torch.tensor([[1, 5, 6, 7], [1, 8, 8, 9], [1, 4, 5, 4]])
    with torch.inference_mode():
        at_once = network(seen, tokens)  # [3, 4, V]
        state = network.start(seen)
        for i in range(4):
            logits, state = network.step(tokens[:, i], state)
            torch.testing.assert_close(logits, at_once[:, i], rtol=1e-4, atol=1e-4)


def test_attention_looks_at_regions_and_does_not_mind_their_order() -> None:
    network = small_checkpoint(attention_size=8).network
    features = torch.randn(2, 512, 3, 3)
    tokens = torch.tensor([[1, 5, 6], [1, 7, 8]])
    with torch.inference_mode():
        logits = network(network.look(features), tokens)
        mirrored = network(network.look(features.flip(3)), tokens)
        pooled = features.mean(dim=(2, 3), keepdim=True).expand_as(features)
        flat = network(network.look(pooled), tokens)
    torch.testing.assert_close(logits, mirrored, rtol=1e-4, atol=1e-4)
    assert (logits - flat).abs().max() > 1e-3, "more than the mean of the picture is seen"


def test_attention_does_not_mix_pictures() -> None:
    network = small_checkpoint(attention_size=8).network
    features = torch.randn(3, 512, 2, 2)
    tokens = torch.tensor([[1, 5, 6]] * 3)
    other = features.clone()
    other[1] = torch.randn(512, 2, 2)
    with torch.inference_mode():
        before, after = (network(network.look(f), tokens) for f in (features, other))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_an_attention_size_that_has_no_heads() -> None:
    architecture = Architecture(encoder="resnet18", attention_size=12)
    with pytest.raises(ValueError, match="12 is not a multiple of 8"):
        CaptionNetwork(Config(name="x", vocabulary_size=9, architecture=architecture))
