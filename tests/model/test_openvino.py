"""The same checkpoint under PyTorch and under OpenVINO."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from model.captioner import Captioner
from model.checkpoint import load
from model.config import BUNDLED, Precision
from model.network import CaptionNetwork
from model.preprocessing import load_pixels

SAMPLES = Path(__file__).parents[2] / "service" / "static" / "samples"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "captioner"


@pytest.fixture(scope="module")
def torch_captioner() -> Captioner:
    return Captioner.load(BUNDLED)


@pytest.fixture(scope="module")
def pixels(torch_captioner: Captioner) -> np.ndarray:
    """[B, S, S, 3]: the page's samples, and the same upside down."""
    preprocessing = torch_captioner.config.preprocessing
    pictures = [load_pixels(path, preprocessing) for path in sorted(SAMPLES.iterdir())]
    return np.stack([*pictures, *(picture[::-1] for picture in pictures)])


@pytest.mark.parametrize("beam", [1, 4])
def test_float32_gives_pytorchs_captions(
    cache: Path, torch_captioner: Captioner, pixels: np.ndarray, beam: int
) -> None:
    beams = [beam] * len(pixels)
    expected = torch_captioner.caption(pixels, beams)
    for got, wanted in zip(torch_captioner.on_openvino().caption(pixels, beams), expected, strict=True):
        assert isinstance(got, list)
        assert isinstance(wanted, list)
        assert [c.text for c in got] == [c.text for c in wanted]
        assert [c.log_probability for c in got] == pytest.approx(
            [c.log_probability for c in wanted], abs=1e-3
        )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_caption_does_not_depend_on_its_batch(
    cache: Path, torch_captioner: Captioner, pixels: np.ndarray, precision: Precision
) -> None:
    captioner = torch_captioner.on_openvino(precision)
    together = captioner.caption(pixels, [1] * len(pixels))
    for row, wanted in enumerate(together):
        (alone,) = captioner.caption(pixels[row : row + 1], [1])
        assert isinstance(alone, list)
        assert isinstance(wanted, list)
        assert alone[0].text == wanted[0].text


def test_graphs_are_kept_and_damaged_ones_made_again(
    cache: Path, torch_captioner: Captioner, pixels: np.ndarray
) -> None:
    def caption() -> str:
        (captions,) = torch_captioner.on_openvino().caption(pixels[:1], [1])
        assert isinstance(captions, list)
        return captions[0].text

    first = caption()
    (kept,) = cache.iterdir()
    made = (kept / "encode.xml").stat().st_mtime_ns
    assert caption() == first
    assert (kept / "encode.xml").stat().st_mtime_ns == made
    (kept / "encode.xml").write_bytes(b"<net")
    assert caption() == first
    assert (kept / "encode.xml").read_bytes() != b"<net"


def test_weights_of_no_checkpoint_never_get_anothers_graphs(cache: Path, pixels: np.ndarray) -> None:
    def captioner() -> Captioner:
        loaded = load(BUNDLED)
        return Captioner(replace(loaded, config=replace(loaded.config, files={})))

    def how_likely(captioner: Captioner) -> float:
        (captions,) = captioner.caption(pixels[:1], [1])
        assert isinstance(captions, list)
        return captions[0].log_probability

    first = captioner()
    assert how_likely(first.on_openvino()) == pytest.approx(how_likely(first), abs=1e-3)
    other = captioner()
    assert isinstance(other.network, CaptionNetwork)
    with torch.no_grad():
        other.network.output.bias.mul_(-3)
    assert abs(how_likely(other) - how_likely(first)) > 0.1
    assert how_likely(other.on_openvino()) == pytest.approx(how_likely(other), abs=1e-3)


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_captioner: Captioner, pixels: np.ndarray
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert isinstance(torch_captioner.on_openvino().caption(pixels[:1], [1])[0], list)


def test_nothing_of_it_reports_to_anyone(cache: Path) -> None:
    program = """
import sys
from model.captioner import Captioner
from model.config import BUNDLED
captioner = Captioner.load(BUNDLED)
ways_out = ("os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, _: event in ways_out and print(event))
captioner.on_openvino()
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == ""
