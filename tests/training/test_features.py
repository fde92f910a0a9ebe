from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.checkpoint import Checkpoint
from model.preprocessing import load_pixels
from tests.model.networks import small_checkpoint
from tests.training.toy import make_data_set
from training import features
from training.augment import random_views, view
from training.dataset import Example, load_split
from training.features import Recipe

STAGES = 5  # of the small network's ResNet-18


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

    def get(pictures: list[Example], views: int = 1, depth: int = STAGES) -> torch.Tensor:
        recipe = Recipe(depth, views)
        return features.cached(
            tmp_path / "cache", checkpoint.network, pictures, checkpoint.config.preprocessing, recipe
        )

    first = get(examples)
    assert torch.equal(get(examples), first)
    assert len(computed) == 1
    assert get(examples, views=2).shape == (2, 3, 512, 1, 1)
    assert len(computed) == 2
    assert get(examples[:2], views=2).shape == (2, 2, 512, 1, 1)
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
    assert get(examples[:2], views=2, depth=3).shape == (2, 2, 128, 4, 4)
    assert len(computed) == 7
    with torch.no_grad():
        next(checkpoint.network.encoder.stages()[3].parameters()).mul_(1.01)  # it has not run yet
    get(examples[:2], views=2, depth=3)
    assert len(computed) == 7


def test_random_crops_are_always_the_same(checkpoint: Checkpoint, examples: list[Example]) -> None:
    found, again = (
        features.compute(checkpoint.network, examples, checkpoint.config.preprocessing, Recipe(STAGES, 3))
        for _ in range(2)
    )
    assert torch.equal(found, again)
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("attention", [0, 8])
@pytest.mark.parametrize("depth", range(STAGES + 1))
def test_an_encoder_may_be_cut_anywhere(depth: int, attention: int, examples: list[Example]) -> None:
    """What the rest makes of a cached output is what the whole encoder says of the picture."""
    checkpoint = small_checkpoint(attention_size=attention)
    network, preprocessing = checkpoint.network, checkpoint.config.preprocessing
    cut = features.compute(network, examples, preprocessing, Recipe(depth))[0]
    pixels = torch.from_numpy(np.stack([load_pixels(e.path, preprocessing) for e in examples]))
    with torch.inference_mode():
        seen = network.look(features.run_stages(network, cut, depth))
        whole = network.encode(pixels)
    torch.testing.assert_close(seen.embedding, whole.embedding, rtol=1e-4, atol=1e-4)
    if attention:
        torch.testing.assert_close(seen.regions, whole.regions, rtol=1e-4, atol=1e-4)


def test_half_precision_is_enough(checkpoint: Checkpoint, examples: list[Example]) -> None:
    exact, half = (
        features.compute(checkpoint.network, examples, checkpoint.config.preprocessing, Recipe(2, half=half))
        for half in (False, True)
    )
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=1e-3, atol=1e-3)


def test_view_numbers() -> None:
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(view(pixels, 0, generator), pixels)
    assert torch.equal(view(pixels, 1, generator), pixels.flip(2))


def test_random_views_are_crops_or_mirrored_crops() -> None:
    """A ramp from left to right and one from top to bottom stay so, over three quarters of their range."""
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8)
    pixels = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)], dim=-1)
    views = random_views(pixels.to(torch.uint8).expand(32, -1, -1, -1), torch.Generator().manual_seed(0), 64)
    assert views.shape == (32, 64, 64, 3)
    assert views.dtype == torch.uint8
    across = views[:, 32, :, 0].int()
    down = views[:, :, 32, 1].int()
    assert ((across[:, -1] - across[:, 0]).abs() >= 0.75 * 252 - 8).all()
    assert (down[:, -1] - down[:, 0] >= 0.75 * 252 - 8).all(), "never upside down"
    mirrored = (across[:, -1] < across[:, 0]).sum()
    assert 4 < mirrored < 28


def test_the_ancestors_crop_has_one_size() -> None:
    """224 of 256 pixels, somewhere: a ramp keeps its slope."""
    ramp = torch.arange(256, dtype=torch.uint8).expand(8, 256, 256)
    views = random_views(
        ramp.unsqueeze(3).expand(-1, -1, -1, 3), torch.Generator().manual_seed(3), 224, (0.875, 0.875)
    )
    assert views.shape == (8, 224, 224, 3)
    across = views[:, 100, :, 0].int()
    assert ((across[:, -1] - across[:, 0]).abs() - 223 <= 1).all()
    assert len(across[:, 112].unique()) > 4, "at different places"
