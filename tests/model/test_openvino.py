"""The same checkpoint under PyTorch and under OpenVINO."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from msgspec.structs import replace

from model.captioner import Captioner
from model.checkpoint import Checkpoint, Contents, build, read
from model.config import BUNDLED, Decoding, Precision
from model.decoding import Decoded, beam_search, greedy
from model.network import CaptionNetwork
from model.openvino_network import OpenVinoNetwork
from model.openvino_search import search_by_steps
from model.preprocessing import load_pixels
from model.vocabulary import END_ID, PAD_ID
from tests.model.networks import random_seen, small_checkpoint

SAMPLES = Path(__file__).parents[2] / "service" / "static" / "samples"


def openvino(precision: Precision) -> Captioner:
    return Captioner.on_openvino(read(BUNDLED), precision)


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
    graph_cache: Path, torch_captioner: Captioner, pixels: np.ndarray, beam: int
) -> None:
    beams = [beam] * len(pixels)
    expected = torch_captioner.caption(pixels, beams)
    for got, wanted in zip(openvino("float32").caption(pixels, beams), expected, strict=True):
        assert isinstance(got, list)
        assert isinstance(wanted, list)
        assert [c.text for c in got] == [c.text for c in wanted]
        assert [c.log_probability for c in got] == pytest.approx(
            [c.log_probability for c in wanted], abs=1e-3
        )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_caption_does_not_depend_on_its_batch(
    graph_cache: Path, pixels: np.ndarray, precision: Precision
) -> None:
    captioner = openvino(precision)
    together = captioner.caption(pixels, [1] * len(pixels))
    for row, wanted in enumerate(together):
        (alone,) = captioner.caption(pixels[row : row + 1], [1])
        assert isinstance(alone, list)
        assert isinstance(wanted, list)
        assert alone[0].text == wanted[0].text


def test_parts_of_a_batch_change_nothing(
    graph_cache: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts = openvino("auto")
    monkeypatch.setattr("model.openvino_network._LARGE", 0)
    at_once = openvino("auto")
    assert (in_parts.in_parts, at_once.in_parts) == (True, False)
    for one, other in zip(in_parts.network.encode(pixels), at_once.network.encode(pixels), strict=True):
        assert np.array_equal(one, other)
    texts = []
    for captioner in (in_parts, at_once):
        captioner.warm_up([4])
        results = captioner.caption(pixels, [1, 3, 1, 1, 1, 1, 1, 1])  # seven greedily, as eight
        texts.append([[caption.text for caption in captions] for captions in results])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("predicts_start", "beam"), [(False, 1), (False, 3), (False, 10), (True, 1)])
@pytest.mark.parametrize(
    ("layers", "attention", "ngram", "longest"), [(1, 0, 3, 20), (2, 8, 2, 9), (1, 16, 0, 4)]
)
def test_its_searches_are_those_of_decoding(
    layers: int, attention: int, ngram: int, longest: int, predicts_start: bool, beam: int
) -> None:
    limits = Decoding(max_length=longest, no_repeat_ngram=ngram, predicts_start=predicts_start)
    config = small_checkpoint(decoding=limits).config
    sizes = replace(config.architecture, num_layers=layers, attention_size=attention)
    pictures_of_four_regions = replace(config.preprocessing, image_size=64)
    config = replace(config, architecture=sizes, preprocessing=pictures_of_four_regions)
    torch.manual_seed(0)
    network = CaptionNetwork(config).eval()
    with torch.no_grad():
        for parameter in (*network.lstm.parameters(), *network.output.parameters()):
            parameter.mul_(6)
        network.output.bias[END_ID] += 2  # so that captions end, at different lengths
    with torch.inference_mode():
        seen = random_seen(network, pictures=12)
        seen.embedding[5] = float("nan")
        expected = beam_search(network, seen, limits, beam) if beam > 1 else greedy(network, seen, limits)
        values = [part.numpy() for part in seen if part is not None]
        openvino = OpenVinoNetwork(config, lambda: network, "float32")
        if predicts_start:
            rows = search_by_steps(openvino, values, [beam] * 12)
        else:
            rows = openvino.beam(values, beam) if beam > 1 else openvino.greedy(values)
        length = max(len(row.tokens[0]) for row in rows)
        found = Decoded(
            *(
                torch.tensor(
                    [[[*caption, *[PAD_ID] * (length - len(caption))] for caption in row] for row in part]
                )
                for part in zip(*rows, strict=True)
            )
        )
    sound = [row for row in range(12) if row != 5]
    lengths = (expected.tokens[sound] != PAD_ID).sum(dim=-1)
    assert len(lengths.unique()) > 1, "all captions are equally long"
    length = expected.tokens.shape[-1]
    assert found.tokens[sound, :, :length].equal(expected.tokens[sound])
    assert found.log_probs[sound, :, :length].numpy() == pytest.approx(
        expected.log_probs[sound].numpy(), abs=1e-4
    )
    assert not found.log_probs[5].sum().isfinite()


def test_graphs_are_kept_and_damaged_ones_made_again(graph_cache: Path, pixels: np.ndarray) -> None:
    def caption() -> str:
        (captions,) = openvino("auto").caption(pixels[:1], [1])
        assert isinstance(captions, list)
        return captions[0].text

    first = caption()
    (kept,) = graph_cache.iterdir()
    made = (kept / "encode.xml").stat().st_mtime_ns
    assert caption() == first
    assert (kept / "encode.xml").stat().st_mtime_ns == made
    (kept / "encode.xml").write_bytes(b"<net")
    assert caption() == first
    assert (kept / "encode.xml").read_bytes() != b"<net"


def test_graphs_that_came_with_the_installation_are_used(
    graph_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino("auto")
    (tmp_path / "prefix" / "share").mkdir(parents=True)
    graph_cache.rename(tmp_path / "prefix" / "share" / "captioner")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    openvino("auto")
    assert not graph_cache.exists()


def test_weights_of_no_checkpoint_never_get_anothers_graphs(graph_cache: Path, pixels: np.ndarray) -> None:
    config, vocabulary, weights = read(BUNDLED)
    config = replace(config, files={})
    tensors = safetensors.torch.load(weights)
    other = safetensors.torch.save({**tensors, "output.bias": -3 * tensors["output.bias"]})

    def how_likely(captioner: Captioner) -> float:
        (captions,) = captioner.caption(pixels[:1], [1])
        assert isinstance(captions, list)
        return captions[0].log_probability

    expected = [
        how_likely(Captioner.on_torch(Checkpoint(config, vocabulary, build(config, which))))
        for which in (weights, other)
    ]
    assert abs(expected[0] - expected[1]) > 0.1
    for which, wanted in zip((weights, other), expected, strict=True):
        captioner = Captioner.on_openvino(Contents(config, vocabulary, which), "float32")
        assert how_likely(captioner) == pytest.approx(wanted, abs=1e-3)


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert isinstance(openvino("auto").caption(pixels[:1], [1])[0], list)


def test_auto_computes_in_bfloat16_where_the_cpu_does(graph_cache: Path, pixels: np.ndarray) -> None:
    import openvino as ov

    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16, so what it rounds is NOT tested")
    precisions: tuple[Precision, ...] = ("auto", "float32", "bfloat16")
    embeddings = {p: openvino(p).network.encode(pixels)[0] for p in precisions}
    size = np.linalg.norm(embeddings["float32"])
    error = {p: np.linalg.norm(values - embeddings["float32"]) for p, values in embeddings.items()}
    assert 0 < error["bfloat16"] < 0.01 * size
    assert error["auto"] == error["bfloat16"]


def test_a_second_start_loads_no_pytorch(graph_cache: Path) -> None:
    program = """
import sys
sys.prefix = "nowhere"
import numpy as np
from model.captioner import Captioner, resolve_device
from model.config import BUNDLED
captioner = Captioner.load(BUNDLED, resolve_device("cpu"), engine="openvino")
size = captioner.config.preprocessing.image_size
results = captioner.caption(np.zeros((2, size, size, 3), dtype=np.uint8), [1, 3])
print([len(captions) for captions in results])
print(sorted({"timm", "torch", "torchvision"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program]
    starts = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True) for _ in range(2)]
    widths, loaded = zip(*(start.stdout.splitlines() for start in starts), strict=True)
    assert set(widths) == {"[1, 3]"}
    assert loaded == ("['timm', 'torch', 'torchvision']", "[]")


def test_a_network_dropped_by_another_thread_takes_no_signal_stack_with_it(graph_cache: Path) -> None:
    """As a reload does; the process would end at the main thread's next signal."""
    program = """
import signal, subprocess, threading
from model.captioner import Captioner
from model.checkpoint import read
from model.config import BUNDLED
networks = [Captioner.on_openvino(read(BUNDLED))]
dropping = threading.Thread(target=networks.clear)
dropping.start()
dropping.join()
signal.signal(signal.SIGCHLD, lambda *_: print("a child has ended"))
subprocess.run(["true"])
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert (run.returncode, run.stdout) == (0, "a child has ended\n")


def test_nothing_of_it_reports_to_anyone(graph_cache: Path) -> None:
    program = """
import sys
sys.prefix = "nowhere"
from model.captioner import Captioner
from model.checkpoint import read
from model.config import BUNDLED
contents = read(BUNDLED)
ways_out = ("os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, _: event in ways_out and print(event))
Captioner.on_openvino(contents)
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == ""
