from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import Architecture, load_card, load_config
from model.errors import CheckpointError
from model.network import CaptionNetwork
from tests.model.networks import SIZE, small_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "checkpoint", small_checkpoint(), card="# small")
    return tmp_path / "checkpoint"


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    config = msgspec.json.decode(path.read_bytes())
    change(config)
    path.write_bytes(msgspec.json.encode(config))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """With its hash: a file that was made wrong, not one that was altered."""
    import hashlib

    (folder / name).write_bytes(content)
    edit_config(folder, lambda c: c["files"].__setitem__(name, hashlib.sha256(content).hexdigest()))


def fails_with(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(folder)
    assert "\n" not in str(caught.value)


def test_round_trip(folder: Path) -> None:
    saved, loaded = small_checkpoint(), checkpoints.load(folder)
    saved.network.round_step()
    assert loaded.vocabulary.words == saved.vocabulary.words
    assert loaded.config.architecture == saved.config.architecture
    for name, tensor in saved.network.state_dict().items():
        if not name.startswith("encoder."):
            kept = tensor.half().float() if tensor.is_floating_point() else tensor
            assert torch.equal(loaded.network.state_dict()[name], kept), name
    assert not loaded.network.training
    assert load_card(folder) == "# small"
    pixels = np.full((1, SIZE, SIZE, 3), 90, dtype=np.uint8)
    assert Captioner.on_torch(loaded).caption(pixels, [2]) == Captioner.load(folder).caption(pixels, [2])


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "mobilenet_edgetpu"])
def test_a_saved_encoder_computes_the_same_with_values_that_bfloat16_has(
    tmp_path: Path, encoder: str
) -> None:
    torch.manual_seed(0)
    config = msgspec.structs.replace(small_checkpoint().config, architecture=Architecture(encoder=encoder))
    network = CaptionNetwork(config).eval()
    for module in network.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: no mean is 0, no variance 1
            for values, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight, 0.7, 1.3),
                (module.bias, -0.3, 0.3),
            ):
                torch.nn.init.uniform_(values, low, high)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    checkpoint = checkpoints.Checkpoint(config, small_checkpoint().vocabulary, network)
    checkpoints.save(tmp_path, checkpoint)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    loaded = checkpoints.load(tmp_path)
    for module in loaded.network.encoder.modules():
        used = [module.bias] if isinstance(module, torch.nn.BatchNorm2d) else []
        used += [module.weight] if isinstance(module, torch.nn.Conv2d) else []
        assert all(torch.equal(values, values.bfloat16().float()) for values in used)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert torch.equal(module.weight / (module.running_var + module.eps).sqrt(), module.weight)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        exact, rounded = network.encoder(images), loaded.network.encoder(images)
    assert 0 < (rounded - exact).norm() < 0.02 * exact.norm()
    weights = (tmp_path / "model.safetensors").read_bytes()
    checkpoints.save(tmp_path, loaded)
    assert (tmp_path / "model.safetensors").read_bytes() == weights, "nothing is rounded twice"


def test_an_exact_checkpoint_keeps_every_bit(tmp_path: Path) -> None:
    saved = small_checkpoint()
    checkpoints.save(tmp_path, saved, exact=True)
    kept = checkpoints.load(tmp_path).network.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in saved.network.state_dict().items())


def test_the_folder_is_four_plain_files(folder: Path) -> None:
    names = {"README.md", "config.json", "model.safetensors", "vocabulary.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert len(safetensors.torch.load_file(folder / "model.safetensors")) > 100


def test_saving_again_replaces_the_checkpoint_and_leaves_other_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    before = load_config(folder).revision
    checkpoints.save(folder, small_checkpoint(seed=1))
    assert checkpoints.load(folder).config.revision != before
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_write_that_fails_leaves_the_old_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = load_config(folder).revision
    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, small_checkpoint(seed=1))
    monkeypatch.undo()
    assert checkpoints.load(folder).config.revision == before
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocabulary.json"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    fails_with(folder, f"{name} is missing")


def test_a_missing_card_is_no_fault(folder: Path) -> None:
    (folder / "README.md").unlink()
    checkpoints.load(folder)
    assert load_card(folder) == ""


@pytest.mark.parametrize("name", ["model.safetensors", "vocabulary.json"])
def test_altered_byte(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[-20] ^= 1
    (folder / name).write_bytes(raw)
    fails_with(folder, f"{name} was altered or cut off")


def test_truncated_weights(folder: Path) -> None:
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[: len(raw) // 2])
    fails_with(folder, "model.safetensors was altered or cut off")


def test_truncated_config(folder: Path) -> None:
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes()[:50])
    fails_with(folder, "config.json is not usable")


def test_pickle_in_place_of_safetensors_is_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    replace_file(folder, "model.safetensors", pickle.dumps(Trap()))
    fails_with(folder, "model.safetensors is not a safetensors file")
    assert not (tmp_path / "sprung").exists()


def test_wrong_shape(folder: Path) -> None:
    edit_config(folder, lambda c: c["architecture"].__setitem__("hidden_size", 25))
    fails_with(folder, r"model.safetensors does not fit config.json: lstm.* has shape .*, expected")


def test_missing_and_unknown_tensors(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    bias = tensors.pop("output.bias")
    replace_file(folder, "model.safetensors", safetensors.torch.save(tensors))
    fails_with(folder, "it lacks output.bias")
    tensors |= {"output.bias": bias, "extra": bias.clone()}
    replace_file(folder, "model.safetensors", safetensors.torch.save(tensors))
    fails_with(folder, "it holds an unknown extra")


def test_weights_that_are_not_finite(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["output.bias"][3] = float("inf")
    replace_file(folder, "model.safetensors", safetensors.torch.save(tensors))
    fails_with(folder, "output.bias holds values that are not finite")


def test_vocabulary_of_another_size(folder: Path) -> None:
    words = msgspec.json.decode((folder / "vocabulary.json").read_bytes())
    replace_file(folder, "vocabulary.json", msgspec.json.encode([*words, "more"]))
    fails_with(folder, "vocabulary.json has 35 words but config.json says 34")


def test_vocabulary_that_is_no_list_of_words(folder: Path) -> None:
    replace_file(folder, "vocabulary.json", b'{"a": 1}')
    fails_with(folder, "vocabulary.json is not usable")


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_format_version(folder: Path, version: object) -> None:
    edit_config(folder, lambda c: c.__setitem__("format_version", version))
    fails_with(folder, "config.json has format version .*; this program reads version 1")


def test_unknown_encoder(folder: Path) -> None:
    edit_config(folder, lambda c: c["architecture"].__setitem__("encoder", "vgg16"))
    fails_with(folder, "config.json is not usable: unknown encoder 'vgg16'")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("architecture", "layers"), 3),
        (("preprocessing", "resize"), "stretch"),
        (("vocabulary_size",), "many"),
    ],
)
def test_wrong_field_is_named(folder: Path, path: tuple[str, ...], value: object) -> None:
    def change(config: dict) -> None:
        *outer, last = path
        for name in outer:
            config = config[name]
        config[last] = value

    edit_config(folder, change)
    fails_with(folder, f"config.json is not usable: .*{path[-1]}")
