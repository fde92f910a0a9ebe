"""Progress bars on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def bar_on_terminal(title: str, total: int) -> AbstractContextManager[Callable[[], None] | None]:
    """As :func:`bar`; nothing where standard error is no terminal, or of fewer than two."""
    return bar(title, total) if total > 1 and sys.stderr.isatty() else nullcontext()


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar; gives a function that moves it on by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
