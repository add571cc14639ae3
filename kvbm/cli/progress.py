"""A progress bar on standard error, or silence.

What this is
    One door to the bar, so that those who report progress need not know whether anybody looks.

Interface, as rules of use
    * `step()` gives a function that takes how much is done so far; call it as often as you like.
    * Nothing is ever written to standard output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Steps(Protocol):
    """The steps of one command, one bar each."""

    def __call__(self, name: str, total: int | None) -> Callable[[int], None]:
        """Begin a step of `total` units, None if unknown; the result takes what is done so far."""


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Steps]:
    """Show bars on standard error while the block runs, if they are wanted."""
    if not shown:
        yield lambda _name, _total: lambda _done: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    # On a terminal the bars make room for the result; in a log they are what was asked for.
    with Progress(*columns, console=console, transient=console.is_terminal) as progress:

        def begin(name: str, total: int | None) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda done: progress.update(task, completed=done)

        yield begin
