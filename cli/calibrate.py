"""``captioner calibrate``: what int8 has to know of a checkpoint, measured with pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.listing import pictures, printable
from model.errors import CaptionerError

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
    from model.calibration import measure_ranges
    from model.captioner import resolve_engine

    found = [Path(name) for name in pictures(paths)]
    if len(found) > MOST:
        found = [found[number * len(found) // MOST] for number in range(MOST)]
    held_out = found[HELD_OUT - 1 :: HELD_OUT]
    measured = [path for number, path in enumerate(found, 1) if number % HELD_OUT]
    loaded = checkpoints.load(checkpoint)
    used = 0

    def pixels() -> Iterator[NDArray[np.uint8]]:
        nonlocal used
        for each in _readable(measured, loaded.config.preprocessing):
            yield each
            used += 1

    ranges = measure_ranges(loaded.network, pixels())
    if not ranges:
        raise CaptionerError("none of these is a picture that can be read")
    try:
        checkpoints.save_ranges(checkpoint, loaded.config, ranges)
    except OSError as error:
        raise CaptionerError(f"{checkpoint} cannot be written: {error.strerror}") from None
    print(f"{checkpoint}: ranges of {len(ranges)} convolutions, from {used} pictures")
    if resolve_engine("auto", "cpu") == "openvino":
        same, compared = compare(checkpoint, held_out)
        if compared:
            print(f"int8 gives {same} of {compared} other pictures the caption that float32 gives them")


def _readable(paths: list[Path], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    from cli.progress import bar_on_terminal
    from model.bulk import decode

    with bar_on_terminal("measuring", len(paths)) as advance:
        for path in paths:
            decoded = decode(path, preprocessing)
            if isinstance(decoded, CaptionerError):
                _report(path, decoded)
            else:
                yield decoded
            if advance:
                advance()


def compare(checkpoint: Path, paths: list[Path]) -> tuple[int, int]:
    """How many captions int8 leaves as they are, of how many that float32 gives."""
    from model.bulk import caption_many
    from model.captioner import Captioner

    precisions: tuple[Precision, ...] = ("float32", "int8")
    exact, rounded = (
        list(caption_many(Captioner.load(checkpoint, "cpu", "openvino", precision), paths))
        for precision in precisions
    )
    same = compared = 0
    for path, one, other in zip(paths, exact, rounded, strict=True):
        if isinstance(one, CaptionerError):
            _report(path, one)
        else:
            compared += 1
            same += not isinstance(other, CaptionerError) and other.text == one.text
    return same, compared


def _report(path: Path, error: CaptionerError) -> None:
    print(f"captioner: {printable(str(path))}: {error}", file=sys.stderr)
