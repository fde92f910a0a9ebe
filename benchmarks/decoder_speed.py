"""The decoder alone under OpenVINO: milliseconds a picture, and of processor time, by how its matrices are
kept.

python benchmarks/decoder_speed.py FOLDER

Each run comes right after the encoder's, as in the service, which leaves little of the decoder in the caches.
Ways take turns; each figure is the median.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from model import checkpoint as checkpoints
from model.config import BUNDLED, Precision
from model.network import CaptionNetwork
from model.openvino_network import OpenVinoNetwork
from model.preprocessing import load_pixels

BATCHES = (1, 2, 4, 8, 16)
PICTURES = 16
ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    checkpoint = checkpoints.load(arguments.checkpoint)
    torch.set_num_threads(1)
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())[:PICTURES]
    pixels = np.stack([load_pixels(path, checkpoint.config.preprocessing) for path in files])
    config = replace(checkpoint.config, files={})  # of no kept graphs: those of the last way have none

    def network(precision: Precision, values: CaptionNetwork) -> OpenVinoNetwork:
        return OpenVinoNetwork(config, lambda: values, precision)

    ways = {
        "matrices in float32": network("float32", unrounded(checkpoint.network)),
        "a byte a weight": network("float32", checkpoint.network),
        "and 8 bits into the products": network("bfloat16", checkpoint.network),
    }
    encoder = ways["and 8 bits into the products"]
    print(f"| batch | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    for batch in BATCHES:
        seen = encoder.encode(pixels[:batch])
        taken = np.array(
            [[seconds_of(encoder, way, pixels[:batch], seen) for way in ways.values()] for _ in range(ROUNDS)]
        )  # [rounds, ways, 2]
        wall, processor = 1000 * np.median(taken, axis=0).T / batch  # [ways] each
        cells = (f"{one:.2f}, {other:.2f}" for one, other in zip(wall, processor, strict=True))
        print(f"| {batch} | {' | '.join(cells)} |", flush=True)


def unrounded(network: CaptionNetwork) -> CaptionNetwork:
    """The same but for the last bits, which nobody can keep in 8."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for name, values in network.named_parameters():
            if not name.startswith("encoder."):
                values.mul_(1.0001)
    return network


def seconds_of(
    encoder: OpenVinoNetwork, way: OpenVinoNetwork, pixels: NDArray[np.uint8], seen: list[NDArray[Any]]
) -> tuple[float, float]:
    """Of the wall's clock and of the processor's."""
    encoder.encode(pixels)
    started = time.perf_counter(), time.process_time()
    way.greedy(seen)
    return time.perf_counter() - started[0], time.process_time() - started[1]


if __name__ == "__main__":
    main()
