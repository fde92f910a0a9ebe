"""What each way to run the network does to captions: a split's CIDEr-D, and how many stay as they were.

python benchmarks/fidelity.py FLICKR8K [--split dev]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model_speed import runners, use_threads

from model.bulk import caption_many
from model.config import BUNDLED
from model.errors import CaptionerError
from training.evaluation import load_whole_split
from training.metrics import all_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    examples = load_whole_split(arguments.data, arguments.split)
    first: list[str] = []
    print("| runs the network | CIDEr-D | captions as PyTorch's |\n|---|---|---|")
    for name, captioner in runners(arguments.checkpoint).items():
        use_threads(captioner)
        texts = []
        for result in caption_many(captioner, (example.path for example in examples)):
            if isinstance(result, CaptionerError):
                raise SystemExit(f"a picture has no caption: {result}")
            texts.append(result.text)
        first = first or texts
        same = sum(a == b for a, b in zip(texts, first, strict=True))
        cider = all_metrics(texts, [example.captions for example in examples]).split["CIDEr-D"]
        print(f"| {name} | {cider:.4f} | {same:,} of {len(texts):,} |", flush=True)


if __name__ == "__main__":
    main()
