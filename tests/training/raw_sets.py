"""Small data sets in each of the layouts in which captioned pictures are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.pictures import picture

Make = Callable[[Path], Path]
KAGGLE_HEADER = "image_name| comment_number| comment"


def put(path: Path, content: bytes | str | object) -> None:
    """Write a file, anything but bytes and text as JSON, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def put_pictures(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        put(folder / name, picture(seed, size=(60, 40)))


def flickr8k(root: Path) -> Path:
    put_pictures(root / "Flicker8k_Dataset", ["a.jpg", "b.jpg", "c.jpg"])
    put(
        root / "Flickr8k.token.txt",
        "a.jpg#0\tOne a .\na.jpg#1\tTwo a .\nb.jpg#0\tOne b .\nc.jpg#0\tOne c .\n",
    )
    put(root / "Flickr_8k.trainImages.txt", "b.jpg\na.jpg\n")
    put(root / "Flickr_8k.devImages.txt", "c.jpg\n")
    return root


def flickr30k_token(root: Path, count: int = 60) -> Path:
    names = [f"{number}.jpg" for number in range(count)]
    put_pictures(root / "flickr30k-images", names)
    put(root / "results_20130124.token", "".join(f"{n}#{i}\tSay {i} .\n" for n in names for i in (0, 1)))
    return root


def flickr30k_kaggle(root: Path, count: int = 60) -> Path:
    names = [f"{number}.jpg" for number in range(count)]
    put_pictures(root / "flickr30k_images" / "flickr30k_images", names)
    rows = "".join(f"{n}| {i}| Say {i} .\n" for n in names for i in (0, 1))
    put(root / "flickr30k_images" / "results.csv", f"{KAGGLE_HEADER}\n{rows}")
    return root


def karpathy_flickr(root: Path, dataset: str = "flickr8k") -> Path:
    put_pictures(root / "images", ["a.jpg", "b.jpg", "c.jpg"])
    put(root / f"dataset_{dataset}.json", {"dataset": dataset, "images": [
        {"filename": "a.jpg", "split": "train", "imgid": 0, "sentids": [0, 1], "sentences": [
            {"tokens": ["one", "a"], "raw": "One a .", "imgid": 0, "sentid": 0}, {"raw": "Two a ."}]},
        {"filename": "b.jpg", "split": "val", "sentences": [{"raw": "One b ."}]},
        {"filename": "c.jpg", "split": "test", "sentences": [{"raw": "One c ."}]},
    ]})  # fmt: skip
    return root


def karpathy_coco(root: Path) -> Path:
    put_pictures(root / "train2014", ["COCO_train2014_1.jpg"])
    put_pictures(root / "val2014", ["COCO_val2014_2.jpg", "COCO_val2014_3.jpg", "COCO_val2014_4.jpg"])
    put(root / "dataset_coco.json", {"dataset": "coco", "images": [
        {"filepath": folder, "filename": f"COCO_{folder}_{number}.jpg", "split": split, "cocoid": number,
         "sentences": [{"raw": f"Picture {number}."}]}
        for number, (folder, split) in enumerate(
            [("train2014", "train"), ("val2014", "restval"), ("val2014", "val"), ("val2014", "test")], 1)
    ]})  # fmt: skip
    return root


def coco(root: Path, year: int = 2014, pictures: str = ".") -> Path:
    """Two pictures in train, one in val; 2017 has no split's name in those of its pictures."""
    for split, numbers in (("train", [1, 2]), ("val", [3])):
        stem = f"COCO_{split}2014_" if year == 2014 else ""
        names = {number: f"{stem}{number:012}.jpg" for number in numbers}
        put_pictures(root / pictures / f"{split}{year}", list(names.values()))
        put(root / "annotations" / f"captions_{split}{year}.json", {
            "info": {}, "licenses": [], "type": "captions",
            "images": [{"id": n, "file_name": name, "width": 60, "height": 40} for n, name in names.items()],
            "annotations": [
                {"image_id": n, "id": n * 10 + i, "caption": f"Caption {i} of {n}."}
                for i in (0, 1) for n in names
            ],
        })  # fmt: skip
    return root


def table(root: Path, text: str | bytes, name: str = "captions.csv") -> Path:
    """A table beside the pictures x.jpg, y.jpg and in/x.jpg."""
    put_pictures(root, ["x.jpg", "y.jpg", "in/x.jpg"])
    put(root / name, text)
    return root
