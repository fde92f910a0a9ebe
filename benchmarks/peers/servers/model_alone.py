"""The model without a server: batches of 16 with decoding beside them, and single pictures in turn.

    python benchmarks/peers/servers/model_alone.py PHOTOS SECONDS

Prints one JSON object: captions a second, latency of single pictures, and the captions of each picture.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import psutil
from common import MAX_BATCH, caption, decode, load_captioner

from model.bulk import caption_many


def main() -> None:
    pictures = sorted(entry for entry in Path(sys.argv[1]).iterdir() if entry.is_file())
    seconds = float(sys.argv[2])
    captioner = load_captioner()
    bodies = [picture.read_bytes() for picture in pictures]

    count, started = 0, time.perf_counter()
    for _ in caption_many(captioner, itertools.cycle(bodies), batch_size=MAX_BATCH):
        count += 1
        if count % MAX_BATCH == 0 and time.perf_counter() > started + seconds:
            break
    rate = count / (time.perf_counter() - started)

    single, end = [], time.perf_counter() + seconds
    for body in itertools.cycle(bodies):
        started = time.perf_counter()
        caption(captioner, [decode(body)])
        single.append(time.perf_counter() - started)
        if time.perf_counter() > end:
            break

    known = [{caption(captioner, [decode(body)])[0]} for body in bodies]
    for known_of, result in zip(known, caption_many(captioner, bodies, batch_size=MAX_BATCH), strict=True):
        known_of.add(result.text)
    memory = psutil.Process().memory_full_info()
    print(
        json.dumps(
            {
                "rate": rate,
                "single_p50": statistics.median(single),
                "single_p99": statistics.quantiles(single, n=100)[98] if len(single) > 1 else single[0],
                "pss": memory.pss,
                "uss": memory.uss,
                "captions": {p.name: sorted(k) for p, k in zip(pictures, known, strict=True)},
            }
        )
    )


if __name__ == "__main__":
    main()
