"""The network without HTTP: what each way to run it captions in a second, beside the ancestor's path.

python benchmarks/model_speed.py FOLDER [--checkpoint DIR | --encoder NAME]

Ways take turns with all of the pictures, so that their ratios hold on a machine with other work to do: each
is the median of the rounds, with the least and the most. Beside it, what the encoder alone makes of the
arithmetic that the machine can do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ancestor import Ancestor
from ceiling import ceiling, seconds_of
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from model import checkpoint as checkpoints
from model.bulk import caption_many
from model.calibration import measure_ranges
from model.captioner import Captioner, resolve_engine
from model.config import BUNDLED, Architecture, Config, Precision
from model.memory import MOST, keep_blocks
from model.network import CaptionNetwork
from model.preprocessing import load_pixels
from model.torch_network import TorchNetwork
from model.vocabulary import SPECIALS, Vocabulary

BATCHES = (1, 2, 4, 8, 16)
ROUNDS = 3
DECODINGS = 9  # of all pictures
ENCODED = 16  # pictures at a time, where the encoder alone is measured
CEILINGS = {"PyTorch": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
WORDS = 9_956  # of the ancestor's vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--encoder", help="the ancestor's model with this encoder, random, in its place")
    parser.add_argument("--pictures", type=int, default=64)
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())[: arguments.pictures]
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.checkpoint
        if arguments.encoder:
            folder = Path(name)
            checkpoints.save(folder, of_random_weights(arguments.encoder))
            checkpoint = checkpoints.load(folder)
            pixels = [load_pixels(path, checkpoint.config.preprocessing) for path in files]
            ranges = measure_ranges(checkpoint.network, pixels)
            checkpoints.save_ranges(folder, checkpoint.config, ranges)
        compare(folder, [path.read_bytes() for path in files])


def of_random_weights(encoder: str) -> checkpoints.Checkpoint:
    """Of the ancestor's sizes; its speed says something, its captions do not."""
    config = Config(
        name=f"{encoder}, random weights",
        vocabulary_size=WORDS,
        architecture=Architecture(encoder=encoder, embed_size=256, hidden_size=512),
    )
    vocabulary = Vocabulary([*SPECIALS, *(f"w{i}" for i in range(WORDS - len(SPECIALS)))])
    return checkpoints.Checkpoint(config, vocabulary, CaptionNetwork(config))


def runners(folder: Path) -> dict[str, Captioner]:
    """The ways to run a checkpoint on a CPU, PyTorch first."""
    ways = {"PyTorch": Captioner.load(folder)}
    if resolve_engine("auto", "cpu") == "openvino":
        contents = checkpoints.read(folder)
        precisions: list[Precision] = ["float32", "bfloat16"]
        precisions += ["int8"] if contents.config.activation_ranges else []
        for precision in precisions:
            ways[f"OpenVINO, {precision}"] = Captioner.on_openvino(contents, precision)
    return ways


THREADS = torch.get_num_threads()


def use_threads(captioner: Captioner) -> None:
    """As many of PyTorch's as the service gives it."""
    torch.set_num_threads(THREADS if isinstance(captioner.network, TorchNetwork) else 1)


def compare(folder: Path, contents: list[bytes]) -> None:
    ways = runners(folder)
    captioners = list(ways.values())
    checkpoint = checkpoints.load(folder)
    ancestor = Ancestor(checkpoint)
    preprocessing = captioners[0].config.preprocessing
    pixels = np.stack([load_pixels(data, preprocessing) for data in contents])
    print("The network alone, captions/s and times the ancestor's path (which also decodes and resizes):\n")
    print(f"| batch | the ancestor’s path | {' | | '.join(ways)} | |\n|---|{'---|' * (1 + 2 * len(ways))}")
    for batch in BATCHES:
        for captioner in captioners:
            captioner.warm_up([batch])
        rounds = [
            [by_ancestor(ancestor, contents), *(in_batches(c, pixels, batch) for c in captioners)]
            for _ in range(ROUNDS)
        ]
        print(f"| {batch} | {row(len(contents), rounds)} |", flush=True)
    keep_blocks(MOST)  # as `captioner caption` does; what was measured before is as PyTorch is by itself
    taken = []
    for _ in range(DECODINGS):
        started = time.process_time()
        for data in contents:
            load_pixels(data, preprocessing)
        taken.append(1000 * (time.process_time() - started) / len(contents))
    spread = f"{np.median(taken):.1f} ms ({min(taken):.1f} to {max(taken):.1f})"
    print(f"\nDecoding and resizing a picture: {spread} of one core.\n")
    print("From files to captions, decoding beside the network (what `captioner caption` does):\n")
    print(f"| the ancestor’s path | {' | | '.join(ways)} | |\n|{'---|' * (1 + 2 * len(ways))}")
    rounds = [
        [by_ancestor(ancestor, contents), *(in_bulk(c, contents) for c in captioners)] for _ in range(ROUNDS)
    ]
    print(f"| {row(len(contents), rounds)} |", flush=True)
    compare_with_ceiling(ways, checkpoint.network, pixels[:ENCODED])


@torch.inference_mode()
def compare_with_ceiling(
    ways: dict[str, Captioner], network: CaptionNetwork, pixels: NDArray[np.uint8]
) -> None:
    """The encoder alone beside large matrix products of the same precision, both with all cores."""
    cpu = torch.device("cpu")
    with FlopCounterMode(display=False) as counter:
        network.encode(torch.from_numpy(pixels[:1]))
    flops = counter.get_total_flops()
    print(f"\nThe encoder alone, {len(pixels)} pictures at a time, {flops / 1e9:.1f} GFLOP each:\n")
    print("| | pictures/s | GFLOP/s | a matrix product, GFLOP/s | of it |\n|---|---|---|---|---|")
    for name, captioner in ways.items():
        dtype = CEILINGS.get(name.rpartition(" ")[2])
        if dtype is None:
            continue
        torch.set_num_threads(THREADS)
        most = ceiling(cpu, dtype)
        use_threads(captioner)
        seconds = seconds_of(lambda c=captioner: c.network.encode(pixels), cpu)
        rate = len(pixels) / seconds
        print(
            f"| {name} | {rate:.1f} | {rate * flops / 1e9:.0f} | {most / 1e9:.0f} "
            f"| {rate * flops / most:.0%} |",
            flush=True,
        )


def by_ancestor(ancestor: Ancestor, contents: list[bytes]) -> float:
    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    for data in contents:
        ancestor.caption(data)
    return time.perf_counter() - started


def in_batches(captioner: Captioner, pixels: NDArray[np.uint8], batch: int) -> float:
    use_threads(captioner)
    started = time.perf_counter()
    for first in range(0, len(pixels), batch):
        part = pixels[first : first + batch]
        captioner.caption(part, [1] * len(part))
    return time.perf_counter() - started


def in_bulk(captioner: Captioner, contents: list[bytes]) -> float:
    use_threads(captioner)
    started = time.perf_counter()
    for _ in caption_many(captioner, contents):
        pass
    return time.perf_counter() - started


def row(pictures: int, rounds: list[list[float]]) -> str:
    """Captions/s of each way and times the first, of its seconds in each round."""
    seconds = np.array(rounds)  # [rounds, ways]
    rates = pictures / np.median(seconds, axis=0)
    times = seconds[:, :1] / seconds
    cells = [f"{rates[0]:.1f}"]
    for rate, ratios in zip(rates[1:], times.T[1:], strict=True):
        spread = f"{np.median(ratios):.1f} × ({min(ratios):.1f} to {max(ratios):.1f})"
        cells.append(f"{rate:.1f} | {spread}")
    return " | ".join(cells)


if __name__ == "__main__":
    main()
