"""The model alone, without HTTP: captions/s by batch size, with decoding apart.

python benchmarks/model_speed.py FOLDER [--checkpoint DIR ...]

Checkpoints, and the ways to run each, take turns at every batch, so that their ratio holds on a machine with
other work to do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.captioner import Captioner, resolve_engine
from model.config import BUNDLED
from model.preprocessing import load_pixels

PICTURES = 64
BATCHES = (1, 2, 4, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, action="append", help="default: the bundled one")
    arguments = parser.parse_args()
    ways = [runners(Captioner.load(folder)) for folder in arguments.checkpoint or [BUNDLED]]
    captioners = [captioner for way in ways for captioner in way.values()]
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())[:PICTURES]
    contents = [path.read_bytes() for path in files]
    started = time.perf_counter()
    pixels = [[load_pixels(data, c.config.preprocessing) for data in contents] for c in captioners]
    decode_ms = 1000 * (time.perf_counter() - started) / len(files) / len(captioners)
    print(f"decoding and resizing: {decode_ms:.1f} ms a picture on one core\n")
    engines = [name for way in ways for name in way]
    if len(ways) > 1:
        engines = [f"{c.config.revision}, {n}" for c, n in zip(captioners, engines, strict=True)]
    names = [f"{name}: captions/s | ms a batch" for name in engines]
    print(f"| batch | {' | '.join(names)} |\n|---|{'---|---|' * len(captioners)}")
    for batch in BATCHES:
        seconds = measure(captioners, [np.stack(p) for p in pixels], batch)
        cells = [f"{len(files) / s:.1f} | {1000 * s * batch / len(files):.0f}" for s in seconds]
        print(f"| {batch} | {' | '.join(cells)} |", flush=True)


def runners(captioner: Captioner) -> dict[str, Captioner]:
    """The ways to run a checkpoint on a CPU, PyTorch first."""
    ways = {"PyTorch": captioner}
    if resolve_engine("auto", "cpu") == "openvino":
        ways["OpenVINO"] = captioner.on_openvino()
        ways["OpenVINO, bfloat16"] = captioner.on_openvino("bfloat16")
    return ways


def measure(captioners: list[Captioner], pixels: list[NDArray[np.uint8]], batch: int) -> list[float]:
    """Seconds that each captioner takes for all of its pictures."""
    seconds = [0.0] * len(captioners)
    for captioner in captioners:
        captioner.warm_up([batch])
    for first in range(0, len(pixels[0]), batch):
        for i, captioner in enumerate(captioners):
            part = pixels[i][first : first + batch]
            started = time.perf_counter()
            captioner.caption(part, [1] * len(part))
            seconds[i] += time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    main()
