from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from model.checkpoint import Checkpoint
from tests.model.networks import small_checkpoint
from tests.training.toy import make_data_set
from training import features
from training.augment import random_views, view
from training.dataset import Example, load_split


@pytest.fixture
def checkpoint() -> Checkpoint:
    return small_checkpoint()


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return load_split(make_data_set(tmp_path / "data", train=3, dev=1), "train")


def test_cache_holds_until_something_changes(
    checkpoint: Checkpoint, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    compute = features.compute
    monkeypatch.setattr(features, "compute", lambda *arguments: (computed.append(1), compute(*arguments))[1])

    def get(pictures: list[Example], views: int = 1) -> torch.Tensor:
        return features.cached(
            tmp_path / "cache", checkpoint.network, pictures, checkpoint.config.preprocessing, views
        )

    first = get(examples)
    assert torch.equal(get(examples), first)
    assert len(computed) == 1
    assert get(examples, views=2).shape == (2, 3, 512)
    assert len(computed) == 2
    assert get(examples[:2], views=2).shape == (2, 2, 512)
    assert len(computed) == 3
    Image.new("RGB", (48, 40)).save(examples[0].path)
    get(examples[:2], views=2)
    assert len(computed) == 4
    with torch.no_grad():
        next(checkpoint.network.encoder.parameters()).mul_(1.01)
    get(examples[:2], views=2)
    assert len(computed) == 5
    with torch.no_grad():
        checkpoint.network.output.bias.add_(1)  # the decoder has no part in features
    get(examples[:2], views=2)
    assert len(computed) == 5
    (tmp_path / "cache").write_bytes((tmp_path / "cache").read_bytes()[:100])
    get(examples[:2], views=2)
    assert len(computed) == 6


def test_features_are_the_networks(checkpoint: Checkpoint, examples: list[Example]) -> None:
    found = features.compute(checkpoint.network, examples, checkpoint.config.preprocessing, views=3)
    again = features.compute(checkpoint.network, examples, checkpoint.config.preprocessing, views=3)
    assert torch.equal(found, again), "random crops too are always the same"
    assert not torch.equal(found[0], found[2])


def test_view_numbers() -> None:
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(view(pixels, 0, generator), pixels)
    assert torch.equal(view(pixels, 1, generator), pixels.flip(2))


def test_random_views_are_crops_or_mirrored_crops() -> None:
    """A ramp from left to right and one from top to bottom stay so, over three quarters of their range."""
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8)
    pixels = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)], dim=-1)
    views = random_views(pixels.to(torch.uint8).expand(32, -1, -1, -1), torch.Generator().manual_seed(0))
    assert views.shape == (32, 64, 64, 3)
    assert views.dtype == torch.uint8
    across = views[:, 32, :, 0].int()
    down = views[:, :, 32, 1].int()
    assert ((across[:, -1] - across[:, 0]).abs() >= 0.75 * 252 - 8).all()
    assert (down[:, -1] - down[:, 0] >= 0.75 * 252 - 8).all(), "never upside down"
    mirrored = (across[:, -1] < across[:, 0]).sum()
    assert 4 < mirrored < 28
