"""The model alone, without HTTP: captions/s by batch size, with decoding apart.

python benchmarks/model_speed.py FOLDER
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from model.captioner import Captioner
from model.config import BUNDLED
from model.preprocessing import load_pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    captioner = Captioner.load(BUNDLED)
    files = sorted(path for path in folder.iterdir() if path.is_file())[:64]
    contents = [path.read_bytes() for path in files]
    started = time.perf_counter()
    pixels = np.stack([load_pixels(data, captioner.config.preprocessing) for data in contents])
    decode_ms = 1000 * (time.perf_counter() - started) / len(files)
    print(f"decoding and resizing: {decode_ms:.1f} ms a picture on one core\n")
    print("| batch | captions/s | ms a batch |\n|---|---|---|")
    for batch in (1, 2, 4, 8, 16):
        captioner.warm_up([batch])
        started = time.perf_counter()
        for first in range(0, len(pixels), batch):
            part = pixels[first : first + batch]
            captioner.caption(part, [1] * len(part))
        elapsed = time.perf_counter() - started
        print(f"| {batch} | {len(pixels) / elapsed:.1f} | {1000 * elapsed * batch / len(pixels):.0f} |")


if __name__ == "__main__":
    main()
