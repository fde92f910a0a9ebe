"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Unit = Literal["pictures", "bytes"]
Running = AbstractContextManager[Callable[[int], None]]


class Meter(Protocol):
    """Begins a piece of work of ``total`` units; gives a function that takes how many are done."""

    def __call__(self, title: str, total: int, unit: Unit) -> Running: ...


def no_meter(title: str, total: int, unit: Unit) -> Running:
    """Shows nothing."""
    return nullcontext(lambda done: None)
