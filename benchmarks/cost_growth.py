"""How cost grows with picture size, beam width, batch and queue: tables, and a plot of each.

python benchmarks/cost_growth.py FOLDER [--plots FOLDER]

What `benchmarks/bulk.py` shows of the fifth, pictures in a folder, is not here.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from http_load import own_service
from peers.driver import Load, make_requests
from PIL import Image

from model.captioner import Captioner, resolve_engine
from model.config import BUNDLED
from model.memory import PICTURES, keep_blocks
from model.preprocessing import load_pixels

MEGAPIXELS = (0.1, 0.3, 1, 3, 10, 20, 40)
BEAMS = range(1, 11)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUEUES = (1, 4, 16, 64, 256, 1000)
SECONDS = 12.0  # of each queue
Rows = list[tuple[float, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()
    keep_blocks(PICTURES)  # as front ends do
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    contents = [path.read_bytes() for path in files[:64]]
    captioner = Captioner.load(BUNDLED, engine=resolve_engine("auto", "cpu"))
    pixels = np.stack([load_pixels(data, captioner.config.preprocessing) for data in contents])
    sizes = ("picture size, megapixels", "JPEG, ms", "progressive JPEG, ms", "PNG, ms")
    report("size", sizes, by_size(captioner), arguments.plots)
    beams = ("beam width", "ms alone", "ms a picture in a batch of 8")
    report("beam", beams, by_beam(captioner, pixels), arguments.plots)
    report("batch", ("batch", "ms a batch", "captions/s"), by_batch(captioner, pixels), arguments.plots)
    queue = ("clients and MAX_QUEUE", "captions/s", "p50 ms", "p99 ms", "not captioned, %")
    report("queue", queue, by_queue(arguments.folder), arguments.plots)


def report(name: str, columns: Sequence[str], rows: Iterator[tuple[float, ...]], plots: Path | None) -> None:
    """Print the rows as they come, and plot every column but captions/s and shares against the first."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    kept: Rows = []
    for row in rows:
        kept.append(row)
        print(f"| {row[0]:g} | {' | '.join(f'{value:.1f}' for value in row[1:])} |", flush=True)
    print()
    if plots:
        plot(plots / f"growth-{name}.svg", columns, kept)


def plot(file: Path, columns: Sequence[str], rows: Rows) -> None:
    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3))
    for number, label in enumerate(columns[1:], start=1):
        if "ms" in label:
            axes.plot([row[0] for row in rows], [row[number] for row in rows], marker="o", label=label)
    axes.set(xlabel=columns[0], ylabel="ms", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def fastest_ms(work: Callable[[], object], times: int = 5) -> float:
    """Of several turns the one that other processes disturbed least."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds)


def by_size(captioner: Captioner) -> Iterator[tuple[float, ...]]:
    for megapixels in MEGAPIXELS:
        height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
        picture = Image.effect_noise((512, 512), 60).convert("RGB").resize((height * 4 // 3, height))
        kinds = {"JPEG": {"quality": 88}, "progressive": {"progressive": True}, "PNG": {"compress_level": 1}}
        row = [megapixels]
        for kind, options in kinds.items():
            out = io.BytesIO()
            picture.save(out, "PNG" if kind == "PNG" else "JPEG", **options)
            data = out.getvalue()
            row.append(fastest_ms(lambda data=data: load_pixels(data, captioner.config.preprocessing), 3))
        yield tuple(row)


def by_beam(captioner: Captioner, pixels: np.ndarray) -> Iterator[tuple[float, ...]]:
    for beam in BEAMS:
        alone = fastest_ms(lambda beam=beam: captioner.caption(pixels[:1], [beam]))
        eight = fastest_ms(lambda beam=beam: captioner.caption(pixels[:8], [beam] * 8))
        yield beam, alone, eight / 8


def by_batch(captioner: Captioner, pixels: np.ndarray) -> Iterator[tuple[float, ...]]:
    for batch in BATCHES:
        many = np.concatenate([pixels] * -(-batch // len(pixels)))[:batch]
        captioner.warm_up([batch])
        ms = fastest_ms(lambda many=many: captioner.caption(many, [1] * len(many)), 3)
        yield batch, ms, 1000 * batch / ms


def by_queue(folder: Path) -> Iterator[tuple[float, ...]]:
    for queue in QUEUES:
        with own_service("--max-queue", str(queue)) as (url, _):
            load = Load(make_requests(folder, "/caption", "image"), int(url.rpartition(":")[2]), SECONDS)
            started = time.monotonic()
            asyncio.run(load.closed(queue))
            elapsed = time.monotonic() - started
        seconds = [seconds for _, seconds, outcome, _ in load.answers if outcome == "200"]
        p50, p99 = (1000 * float(np.quantile(seconds, q)) for q in (0.5, 0.99))
        yield queue, len(seconds) / elapsed, p50, p99, 100 * (1 - len(seconds) / len(load.answers))


if __name__ == "__main__":
    main()
