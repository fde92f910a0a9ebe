"""A data set in Flickr8k's layout of coloured shapes, which a small network can learn to tell apart."""

from __future__ import annotations

from pathlib import Path

import msgspec
from PIL import Image, ImageDraw

from training.config import TrainConfig, load_config, with_data
from training.prepare import Prepared, prepare

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square")


def make_data_set(root: Path, train: int = 16, dev: int = 8) -> Path:
    """``train`` + ``dev`` pictures with three captions each."""
    (root / "images").mkdir(parents=True)
    captions: list[str] = []
    for split, count in (("train", train), ("dev", dev)):
        names = [f"{split}{i}.jpg" for i in range(count)]
        for i, name in enumerate(names):
            colour, shape = COLOURS[i % 4], SHAPES[i // 4 % 2]
            image = Image.new("RGB", (48, 40), "white")
            draw = ImageDraw.Draw(image)
            (draw.ellipse if shape == "circle" else draw.rectangle)((8, 4, 40, 36), fill=colour)
            image.save(root / "images" / name)
            said = (f"A {colour} {shape} .", f"There is a {colour} {shape} on white .", f"One {shape} .")
            captions += [f"{name}#{n}\t{caption}" for n, caption in enumerate(said)]
        (root / f"Flickr_8k.{split}Images.txt").write_text("\n".join(names) + "\n")
    (root / "Flickr8k.token.txt").write_text("\n".join(captions) + "\n")
    return root


def tiny_config(data: Path) -> TrainConfig:
    """The shipped ``tiny`` configuration on a toy data set."""
    return with_data(load_config("tiny"), data)


def only_phases(config: TrainConfig, *names: str) -> TrainConfig:
    return msgspec.structs.replace(config, phases=[p for p in config.phases if p.name in names])


def prepare_small(data: Path, output: Path) -> Prepared:
    return prepare(data, output, image_size=20)
