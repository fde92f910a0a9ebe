"""Matrices of 255 values a row: saving makes them of the decoder's, and OpenVINO keeps a byte a weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import BUNDLED, Decoding, Precision
from model.errors import InferenceError
from model.int8_weights import as_int8, round_rows
from model.network import CaptionNetwork
from model.openvino_network import OpenVinoNetwork
from model.openvino_trace import trace
from tests.model.networks import random_seen, small_checkpoint

CPU = Path("/proc/cpuinfo")
HAS_VNNI = CPU.exists() and "vnni" in CPU.read_text()


@pytest.fixture
def matrix() -> torch.Tensor:
    """[64, 600], rows of very different sizes, one of zeros, one whose largest value is 127 steps."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(64, 600, generator=generator) * torch.logspace(-6, 3, 64)[:, None]
    rows[3] = 0.0
    rows[40] = rows[40].clamp(-126 / 256, 126 / 256)
    rows[40, 0] = 127 / 256
    return rows


def test_rows_are_rounded_to_a_127th_of_their_largest_value_or_a_64th(matrix: torch.Tensor) -> None:
    rounded = round_rows(matrix)
    error = (rounded - matrix).abs().amax(dim=1)
    largest = matrix.abs().amax(dim=1)
    assert (error <= largest / 63.5 / 2 + 2**-25).all()
    assert all(len(row.unique()) <= 255 for row in rounded)
    assert rounded[3].equal(matrix[3])
    assert 0 < error[40] <= 1 / 512
    assert rounded.equal(rounded.half().float()), "a checkpoint stores 16 bits"


def test_rounded_rows_are_multiples_of_steps_to_the_last_bit_also_in_part(matrix: torch.Tensor) -> None:
    rounded = round_rows(matrix)
    assert round_rows(rounded).equal(rounded)
    for part in (rounded, rounded[7:9], rounded[:, 40:]):
        found = as_int8(part)
        assert found is not None
        multiples, steps = found
        assert multiples.dtype == torch.int8
        assert (multiples * steps).equal(part)
    assert as_int8(matrix) is None


def step_matrices(network: CaptionNetwork) -> dict[str, torch.Tensor]:
    ending = ("weight_ih", "weight_hh", "output.weight", "query.weight", "merge.weight")
    return {name: values for name, values in network.state_dict().items() if any(e in name for e in ending)}


def of_two_layers() -> checkpoints.Checkpoint:
    small = small_checkpoint()
    sizes = replace(small.config.architecture, num_layers=2, attention_size=8)
    of_four_regions = replace(small.config.preprocessing, image_size=64)
    config = replace(small.config, architecture=sizes, preprocessing=of_four_regions)
    torch.manual_seed(1)
    return checkpoints.Checkpoint(config, small.vocabulary, CaptionNetwork(config).eval())


def test_a_saved_checkpoint_has_them_in_all_that_a_step_reads(tmp_path: Path) -> None:
    checkpoint = of_two_layers()
    before = {name: values.clone() for name, values in step_matrices(checkpoint.network).items()}
    checkpoints.save(tmp_path, checkpoint)
    after = step_matrices(checkpoints.load(tmp_path).network)
    assert len(after) == 7
    for name, values in after.items():
        assert as_int8(values), name
        assert torch.equal(before[name], step_matrices(checkpoint.network)[name]), "saving changes no network"
        assert 0 < (values - before[name]).norm() < 0.02 * before[name].norm(), name


def bytes_by_type(graph: object) -> dict[str, int]:
    """What a graph's constants take, those of its loops too."""
    found: dict[str, int] = {}
    for operation in graph.get_ordered_ops():  # type: ignore[attr-defined]
        if operation.get_type_name() == "Loop":
            for name, size in bytes_by_type(operation.get_function()).items():
                found[name] = found.get(name, 0) + size
        elif operation.get_type_name() == "Constant":
            name = operation.get_element_type().get_type_name()
            found[name] = found.get(name, 0) + operation.get_byte_size()
    return found


def test_openvinos_graphs_keep_a_byte_a_weight() -> None:
    checkpoint = of_two_layers()
    unrounded = trace(checkpoint.network, checkpoint.config)
    assert "i8" not in bytes_by_type(unrounded["greedy"]), "others keep their values"
    checkpoint.network.round_step()
    graphs = trace(checkpoint.network, checkpoint.config)
    weights = step_matrices(checkpoint.network)
    words = weights.pop("lstm.weight_ih_l0").numel()  # in the table of what words bring
    of_step = sum(values.numel() for values in weights.values())
    # The start has nothing to forget: three gates of four.
    of_start = (words + weights["lstm.weight_ih_l1"].numel()) * 3 // 4
    assert bytes_by_type(graphs["beam"])["i8"] == of_step
    assert bytes_by_type(graphs["greedy"])["i8"] == of_step + of_start
    predicting = replace(checkpoint.config, decoding=Decoding(predicts_start=True))
    graphs = trace(checkpoint.network, predicting)
    assert bytes_by_type(graphs["step"])["i8"] == of_step
    assert bytes_by_type(graphs["first"])["i8"] == sum(
        values.numel() for name, values in weights.items() if "lstm" not in name
    )


@pytest.mark.parametrize("beam", [1, 3])
def test_float32_gives_what_the_same_values_give_in_float32(
    beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = of_two_layers()
    checkpoint.network.round_step()
    with torch.inference_mode():
        seen = [part.numpy() for part in random_seen(checkpoint.network, pictures=12) if part is not None]

    def search() -> list[list[list[float]]]:
        network = OpenVinoNetwork(checkpoint.config, lambda: checkpoint.network, "float32")
        rows = network.beam(seen, beam) if beam > 1 else network.greedy(seen)
        return [[*row.tokens, *row.log_probs] for row in rows]

    short = search()
    monkeypatch.setattr("model.openvino_trace.keep_in_8_bits", lambda graph: graph)
    for one, other in zip(short, search(), strict=True):
        assert one[:beam] == other[:beam]
        assert np.array(one[beam:]) == pytest.approx(np.array(other[beam:]), abs=1e-4)


@pytest.mark.parametrize("bundled", [True, False])
def test_other_precisions_round_what_goes_into_the_products_and_little_else(bundled: bool) -> None:
    if not HAS_VNNI:
        pytest.skip("this CPU has no VNNI, so what it rounds to 8 bits is NOT tested")
    checkpoint = checkpoints.load(BUNDLED) if bundled else of_two_layers()  # one of sizes like no vector's
    checkpoint.network.round_step()
    config = replace(checkpoint.config, files={})
    size = config.preprocessing.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), np.uint8)
    seen = OpenVinoNetwork(config, lambda: checkpoint.network, "float32").encode(pixels)
    totals: dict[str, np.ndarray] = {}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
    for precision in precisions[: 3 if bundled else 2]:
        rows = OpenVinoNetwork(config, lambda: checkpoint.network, precision).greedy(seen)
        totals[precision] = np.array([row.log_probs[0][0] for row in rows])  # of each first word
    error = {p: np.abs(values - totals["float32"]).max() for p, values in totals.items()}
    assert all(0 < error[p] < 0.05 for p in totals if p != "float32")


@pytest.mark.parametrize(("attention", "part"), [(0, "embedding"), (32, "embedding"), (32, "regions")])
def test_a_picture_that_gives_no_number_has_no_caption_in_8_bits_either(
    attention: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_checkpoint()
    of_four_regions = replace(small.config.preprocessing, image_size=64)
    sizes = replace(small.config.architecture, embed_size=32, hidden_size=32, attention_size=attention)
    config = replace(small.config, architecture=sizes, preprocessing=of_four_regions)
    torch.manual_seed(0)
    network = CaptionNetwork(config).eval()
    network.round_step()
    openvino = OpenVinoNetwork(config, lambda: network, "bfloat16")
    with torch.inference_mode():
        seen = [part.numpy() for part in random_seen(network, pictures=3) if part is not None]
    seen[part == "regions"][1].flat[0] = np.nan
    monkeypatch.setattr(openvino, "encode", lambda pixels: seen)
    captioner = Captioner(config, small.vocabulary, openvino)
    pixels = np.zeros((3, 64, 64, 3), dtype=np.uint8)
    for beam in (1, 3):
        sound, broken, also_sound = captioner.caption(pixels, [beam] * 3)
        assert isinstance(sound, list)
        assert isinstance(also_sound, list)
        assert isinstance(broken, InferenceError)
        assert "no finite caption" in str(broken)
