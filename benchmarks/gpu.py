"""All that is to be measured on one NVIDIA GPU, in one run: speed against the GPU's own ceiling, and parity.

python benchmarks/gpu.py [FOLDER] [--device cuda] [--encoder resnet152] [--batches 1,2,4]

Speeds are of the ancestor's sizes with random weights. FOLDER's photographs are captioned by the bundled
model on the GPU and on the CPU. Without a GPU, ``--device cpu --encoder resnet18 --batches 1,2`` goes the
same way.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ceiling import ceiling, seconds_of
from model_speed import of_random_weights
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import BUNDLED
from model.preprocessing import load_pixels
from model.torch_network import TorchNetwork

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
IN_A_ROW = 8  # batches, of which captions/s is taken
SAMPLES = Path(__file__).parents[1] / "service" / "static" / "samples"


def as_graph(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The same on a GPU without the time that launching its kernels one by one takes."""
    if device.type != "cuda":
        return run
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize(device)
    with torch.cuda.graph(graph, stream=stream):
        run()
    return graph.replay


def in_a_row(captioner: Captioner, pixels: NDArray[np.uint8], batches: int) -> None:
    """So many batches, each of which is begun before the one before it is waited for."""
    beams = [1] * len(pixels)
    wait = captioner.begin(pixels, beams)
    for _ in range(batches - 1):
        following = captioner.begin(pixels, beams)
        wait()
        wait = following
    wait()


@torch.inference_mode()
def speed(captioner: Captioner, batches: list[int]) -> None:
    assert isinstance(captioner.network, TorchNetwork)
    network, device = captioner.network.module, captioner.network.device
    size = captioner.config.preprocessing.image_size
    random = np.random.default_rng(0)
    one = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        network.encode(one)
    flops, most = counter.get_total_flops(), ceiling(device, torch.bfloat16)
    print(f"{flops / 1e9:.1f} GFLOP a picture; a bfloat16 matrix product: {most / 1e12:.1f} TFLOP/s\n")
    print(
        "| batch | encoder, pictures/s | of the ceiling | captions/s | share of the LSTM | ms a batch alone |"
    )
    print("|---|---|---|---|---|---|")
    for batch in batches:
        pixels = random.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        on_device = torch.from_numpy(pixels).to(device)  # [B, S, S, 3]
        captioner.warm_up([batch])
        encode = as_graph(lambda there=on_device: network.encode(there), device)
        encoding = seconds_of(encode, device)
        alone = seconds_of(lambda here=pixels, n=batch: captioner.caption(here, [1] * n), device)
        row = seconds_of(lambda here=pixels: in_a_row(captioner, here, IN_A_ROW), device) / IN_A_ROW
        print(
            f"| {batch} | {batch / encoding:.0f} | {batch * flops / encoding / most:.1%} | "
            f"{batch / row:.0f} | {max(0.0, 1 - encoding / row):.0%} | {1000 * alone:.2f} |",
            flush=True,
        )


def parity(files: list[Path], device: str) -> None:
    here = Captioner.load(BUNDLED, "cpu", precision="float32")
    there = Captioner.load(BUNDLED, device)
    pixels = np.stack([load_pixels(file, here.config.preprocessing) for file in files])
    texts = []
    for captioner in (here, there):
        captioner.warm_up([1])
        rows = [captioner.caption(pixels[row : row + 1], [1])[0] for row in range(len(pixels))]
        texts.append([row[0].text for row in rows if isinstance(row, list)])
    same = sum(one == other for one, other in zip(*texts, strict=True))
    print(
        f"\nThe bundled model on {device} and on the CPU in float32: {same} of {len(files)} captions the same"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SAMPLES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--encoder", default="resnet152")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    arguments = parser.parse_args()
    name = torch.cuda.get_device_name(arguments.device) if arguments.device.startswith("cuda") else "the CPU"
    print(f"{arguments.encoder} + LSTM on {name}, PyTorch {torch.__version__}: ", end="")
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder), of_random_weights(arguments.encoder))
        captioner = Captioner.load(Path(folder), arguments.device)
    speed(captioner, [int(batch) for batch in arguments.batches.split(",")])
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    parity(files, arguments.device)


if __name__ == "__main__":
    main()
