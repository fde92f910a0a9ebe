"""``captioner calibrate``: what int8 has to know of a checkpoint, measured with pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.listing import pictures, printable
from cli.progress import bar_on_terminal
from model.errors import CaptionerError, PictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.config import Precision, Preprocessing

MOST = 400  # pictures that are used; more change nothing
HELD_OUT = 4  # every so manieth is not measured with: its captions are compared


def calibrate(
    paths: Annotated[list[str], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder; its config.json is written.")],
) -> None:
    """Prepare a checkpoint for `--precision int8`, with pictures like those that it will caption.

    Some hundred are enough; of more than 400 as many are taken evenly. Three quarters of them are measured
    with, and the captions of the others say what int8 will change. A picture that cannot be read is reported
    and left out.

        captioner calibrate photos --checkpoint runs/mine
    """
    from model import checkpoint as checkpoints
    from model.calibration import measure_ranges, save_ranges
    from model.captioner import resolve_engine

    found = list(pictures(paths))
    found = found[:: -(-len(found) // MOST) or 1]
    held_out = [Path(name) for name in found[HELD_OUT - 1 :: HELD_OUT]]
    measured = [Path(name) for name in found if Path(name) not in held_out]
    loaded = checkpoints.load(checkpoint)
    used = 0

    def pixels() -> Iterator[NDArray[np.uint8]]:
        nonlocal used
        for each in _readable(measured, loaded.config.preprocessing):
            yield each
            used += 1

    try:
        ranges = measure_ranges(loaded.network, pixels())
    except ValueError:
        raise CaptionerError("none of these is a picture that can be read") from None
    try:
        save_ranges(checkpoint, ranges)
    except OSError as error:
        raise CaptionerError(f"{checkpoint} cannot be written: {error.strerror}") from None
    print(f"{checkpoint}: ranges of {len(ranges)} convolutions, from {used} pictures")
    if held_out and resolve_engine("auto", "cpu") == "openvino":
        same, compared = _compare(checkpoint, held_out)
        print(f"int8 gives {same} of {compared} other pictures the caption that float32 gives them")


def _readable(files: list[Path], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    from model.preprocessing import load_pixels

    with bar_on_terminal("measuring", len(files)) as advance:
        for file in files:
            try:
                yield load_pixels(file, preprocessing)
            except (PictureError, OSError) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or error
                print(f"captioner: {printable(str(file))}: {why}", file=sys.stderr)
            advance()


def _compare(checkpoint: Path, files: list[Path]) -> tuple[int, int]:
    """How many captions int8 leaves as they are, of how many."""
    from model.bulk import caption_many
    from model.captioner import Captioner

    precisions: tuple[Precision, ...] = ("float32", "int8")
    exact, rounded = (
        list(caption_many(Captioner.load(checkpoint, "cpu", "openvino", precision), files))
        for precision in precisions
    )
    pairs = [
        (one.text, other.text)
        for one, other in zip(exact, rounded, strict=True)
        if not isinstance(one, CaptionerError) and not isinstance(other, CaptionerError)
    ]
    return sum(one == other for one, other in pairs), len(pairs)
