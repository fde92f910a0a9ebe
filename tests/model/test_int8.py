"""8-bit integers in the encoder: what goes into its convolutions, measured, kept, and used by OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from model import checkpoint as checkpoints
from model.calibration import measure_ranges
from model.captioner import Captioner, resolve_device
from model.checkpoint import read
from model.config import BUNDLED, Precision, load_config
from model.errors import CaptionerError, CheckpointError
from model.openvino_network import OpenVinoNetwork
from model.preprocessing import load_pixels
from tests.model.networks import SIZE, small_checkpoint

SAMPLES = Path(__file__).parents[2] / "service" / "static" / "samples"


def photos() -> np.ndarray:
    """[B, S, S, 3]: the page's samples."""
    preprocessing = load_config(BUNDLED).preprocessing
    return np.stack([load_pixels(path, preprocessing) for path in sorted(SAMPLES.iterdir())])


def on_openvino(precision: Precision) -> Captioner:
    return Captioner.on_openvino(read(BUNDLED), precision)


def test_ranges_are_the_mean_of_each_pictures_extremes() -> None:
    network = small_checkpoint().network
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    ranges = measure_ranges(network, pictures)
    stem, *others = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    assert list(ranges) == others, "all but the one that looks at the pixels"
    assert stem not in ranges
    with torch.inference_mode():
        normalised = network.normalise(torch.from_numpy(pictures))
        after_stem = network.encoder.units()[0](normalised)  # [3, C, H, W]: what the first block sees
    least, most = ranges[others[0]]
    assert least == 0.0, "it comes out of a ReLU"
    assert most == pytest.approx(after_stem.amax(dim=(1, 2, 3)).mean().item(), rel=1e-3)


def test_no_pictures_give_no_ranges_and_values_that_are_not_finite_are_said() -> None:
    network = small_checkpoint().network
    assert measure_ranges(network, []) == {}
    with torch.no_grad():
        next(network.encoder.units()[1].parameters()).fill_(torch.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        measure_ranges(network, [np.zeros((SIZE, SIZE, 3), np.uint8)])


def test_ranges_are_kept_in_a_checkpoint_and_not_handed_to_other_weights(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, small_checkpoint())
    before = load_config(tmp_path)
    ranges = {"a.convolution": (-1.5, 2.0)}
    checkpoints.save_ranges(tmp_path, before, ranges)
    loaded = checkpoints.load(tmp_path)
    assert loaded.config == replace(before, activation_ranges=ranges)
    assert loaded.config.revision == before.revision
    checkpoints.save(tmp_path, loaded)
    assert load_config(tmp_path) == before
    checkpoints.save(tmp_path, small_checkpoint(seed=1))
    after = (tmp_path / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match="another checkpoint"):
        checkpoints.save_ranges(tmp_path, before, ranges)
    assert (tmp_path / "config.json").read_bytes() == after


def test_int8_multiplies_integers_and_stays_near_the_exact_values() -> None:
    pixels = photos()
    embeddings = {p: on_openvino(p).network.encode(pixels)[0] for p in ("float32", "int8")}
    error = np.linalg.norm(embeddings["int8"] - embeddings["float32"], axis=1)
    size = np.linalg.norm(embeddings["float32"], axis=1)
    assert (error > 0).all()
    assert (error < 0.1 * size).all()
    network = on_openvino("int8").network
    assert isinstance(network, OpenVinoNetwork)
    network.encode(pixels)
    executed = network._compiled.request("encode", 4).get_compiled_model().get_runtime_model()
    kinds = [
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in executed.get_ops()
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    integers = sum(kind in ("i8", "u8") for kind in kinds)
    of_blocks_0_to_2 = 17  # three quarters of the work
    assert integers == of_blocks_0_to_2, f"{integers} of {len(kinds)}: {kinds}"


def test_an_int8_embedding_does_not_depend_on_the_batch() -> None:
    pixels, network = photos(), on_openvino("int8").network
    together = network.encode(pixels)
    for row in range(len(pixels)):
        alone = network.encode(pixels[row : row + 1])
        assert all((one[0] == other[row]).all() for one, other in zip(alone, together, strict=True))


def test_int8_on_a_resnet_stays_near_the_exact_values() -> None:
    checkpoint = small_checkpoint()
    pictures = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    ranges = measure_ranges(checkpoint.network, pictures)
    config = replace(checkpoint.config, activation_ranges=ranges)
    exact, rounded = (
        OpenVinoNetwork(config, lambda: checkpoint.network, precision).encode(pictures)[0]
        for precision in ("float32", "int8")
    )
    assert 0 < np.linalg.norm(rounded - exact) < 0.1 * np.linalg.norm(exact)


def test_int8_needs_ranges_that_are_some_of_all_convolutions() -> None:
    checkpoint = small_checkpoint()
    ranges = measure_ranges(checkpoint.network, [np.full((SIZE, SIZE, 3), 90, np.uint8)])
    name = next(iter(ranges))
    lacks, is_none = "captioner calibrate", f"range of {name}, .+ is none"
    cases = [
        (lacks, {}),
        (lacks, {name: ranges[name]}),
        (is_none, {**ranges, name: (1.0, 0.0)}),
        (is_none, {**ranges, name: (0.0, 1e300)}),
    ]
    for message, wrong in cases:
        config = replace(checkpoint.config, activation_ranges=wrong)
        with pytest.raises(CheckpointError, match=message):
            OpenVinoNetwork(config, lambda: checkpoint.network, "int8")


def test_calibrating_makes_no_graphs_anew(graph_cache: Path) -> None:
    contents = read(BUNDLED)
    Captioner.on_openvino(contents, "int8")
    uncalibrated = contents._replace(config=replace(contents.config, activation_ranges={}))
    Captioner.on_openvino(uncalibrated, "float32")
    assert len(list(graph_cache.iterdir())) == 1


@pytest.mark.parametrize("large", [0, 2**30])
def test_a_graph_that_could_not_be_compiled_is_tried_again(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.openvino_network._LARGE", large)
    checkpoint = small_checkpoint()
    captioner = Captioner(
        checkpoint.config,
        checkpoint.vocabulary,
        OpenVinoNetwork(checkpoint.config, lambda: checkpoint.network, "float32"),
    )
    pixels = np.full((1, SIZE, SIZE, 3), 90, np.uint8)

    def no_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("model.openvino_compiled._compile", no_memory)
        with pytest.raises(MemoryError):
            captioner.caption(pixels, [3])
    assert isinstance(captioner.caption(pixels, [3])[0], list)


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_what_pytorch_cannot_do_on_a_cpu_is_said(precision: Precision) -> None:
    with pytest.raises(CaptionerError, match=f"{precision} needs OpenVINO"):
        Captioner.load(BUNDLED, "cpu", "torch", precision)


def test_what_only_a_cpu_can_do_goes_there_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.captioner._GPU_DRIVERS", ["/"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert resolve_device("auto", "int8") == "cpu"
    assert [resolve_device("auto", each) for each in ("auto", "bfloat16")] == ["cuda", "cuda"]
    assert resolve_device("cuda", "int8") == "cuda"
