"""A large folder through ``captioner caption``: captions/s and memory along the way.

python benchmarks/bulk.py FOLDER [--pictures N]

The folder's pictures are taken as often as it needs. The run is stopped once in the middle and goes on, as a
person would do it, and at the end each picture must have its one line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROWS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=10_000)
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as name:
        pictures, output = Path(name, "pictures"), Path(name, "captions.jsonl")
        pictures.mkdir()
        for number, file in enumerate(itertools.islice(itertools.cycle(files), arguments.pictures)):
            os.symlink(file.absolute(), pictures / f"{number:06}{file.suffix}")
        print("| pictures | captions/s | memory MB |\n|---|---|---|")
        run(pictures, output, arguments.pictures, until=arguments.pictures // 2)
        print("| stopped, and begun again | | |")
        run(pictures, output, arguments.pictures, until=arguments.pictures)
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        once = len({line["path"] for line in lines}) == len(lines) == arguments.pictures
        print(f"\n{len(lines)} lines, {'one' if once else 'NOT one'} for each picture")
        sys.exit(not once)


def run(pictures: Path, output: Path, total: int, until: int) -> None:
    """Caption until so many lines are there, then stop it; or to its end, if that is all of them."""
    command = [
        Path(sys.executable).with_name("captioner"),
        "caption",
        str(pictures),
        "--jsonl",
        "--output",
        str(output),
    ]
    process = subprocess.Popen(command)
    memory = psutil.Process(process.pid)
    before = done = lines_in(output)
    since = time.monotonic()
    while process.poll() is None and done < until:
        time.sleep(0.2)
        now = lines_in(output)
        if now // (total // ROWS) > done // (total // ROWS) and now < total:
            rate = (now - before) / (time.monotonic() - since)
            print(f"| {now:,} | {rate:.1f} | {memory.memory_info().rss / 2**20:.0f} |", flush=True)
            before, since = now, time.monotonic()
        done = now
    if until < total:
        process.terminate()
    process.wait()


def lines_in(output: Path) -> int:
    return output.read_bytes().count(b"\n") if output.exists() else 0


if __name__ == "__main__":
    main()
