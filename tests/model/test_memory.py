"""What decoding does to a process's memory, in a process of its own: the choice holds for all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from model.memory import PICTURES
from tests.pictures import picture

MEASURE = """
import resource, sys
from pathlib import Path
import psutil
from model.config import Preprocessing
from model.memory import PICTURES, keep_blocks
from model.preprocessing import load_pixels

keep_blocks(PICTURES)
small, large = (Path(name).read_bytes() for name in sys.argv[1:])
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    load_pixels(small, Preprocessing())
before = faults()
for _ in range(20):
    load_pixels(small, Preprocessing())
print((faults() - before) / 20)
before = psutil.Process().memory_info().rss
load_pixels(large, Preprocessing())
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is asked to keep memory on Linux alone")
def test_small_pictures_memory_is_kept_and_large_ones_goes_back(tmp_path: Path) -> None:
    small, large = tmp_path / "small.jpg", tmp_path / "large.png"
    small.write_bytes(picture(size=(500, 375)))
    Image.new("RGB", (6000, 4000)).save(large)  # 96 MB when decoded
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    faults, kept = map(float, subprocess.check_output(command, text=True).split())
    assert faults < 20  # the pixels of one are 183 pages
    assert kept < 4 * PICTURES


GIVE_BACK = """
import psutil
from model.memory import PICTURES, keep_blocks
from service.rest import REST_S, Rest

keep_blocks(PICTURES)
rest = Rest(look_s=REST_S / 10)
def used():
    return psutil.Process().memory_info().rss
def burst():
    blocks = [bytearray(200_000) for _ in range(300)]
    for block in blocks:
        block[:] = b"x" * len(block)
    rest.look(busy=True)
    return blocks[-10:]  # above all others: nothing below them goes back by itself
staying = burst()
kept = used()
for _ in range(9):
    rest.look(busy=False)
print(kept - used())
rest.look(busy=False)
print(kept - used())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is asked for memory on Linux alone")
def test_a_process_without_work_gives_back_what_a_burst_left() -> None:
    output = subprocess.check_output([sys.executable, "-c", GIVE_BACK], text=True)
    before_rest, after = map(int, output.split())
    assert before_rest < 1e6
    assert after > 50e6  # of 60 MB
