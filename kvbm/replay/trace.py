"""Traces: what users asked a language model, as lists of block ids.

What this is
    `read_trace` reads a file in the Mooncake or the delta form, plain or packed, and gives a
    `Trace` that every rule set can replay.

Interface, as rules of use
    * The whole file is read and checked before anything comes back. A line that cannot be
      used raises `TraceError` with file, line and reason; no half of a trace is ever replayed.
    * Form and packing are recognised by content, never by the file's name.
    * Requests stand in file order. Nothing is sorted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kvbm.errors import TraceError
from kvbm.replay.formats import DeltaForm, Malformed, MooncakeForm
from kvbm.replay.packing import READ_ERRORS, opened
from kvbm.replay.request import Request

__all__ = ["Request", "Trace", "read_trace"]

LINES_PER_PROGRESS = 1000


class Form(Protocol):
    """One written form of a trace. A form may remember the lines that it has seen."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def keys(self) -> frozenset[str]:
        """The keys that a line must have. No two forms share one."""

    @property
    def block_size(self) -> int:
        """Tokens that one id stands for."""

    @property
    def partial_ids(self) -> bool:
        """Whether the last id of a request may name a block that is not full."""

    def request(self, record: dict[str, Any]) -> Request:
        """Turn one line into a request, or raise `Malformed`."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order in which they are to be replayed.

    Parameters
    ----------
    name
        For people: the file's name, or what made it.
    block_size : tokens
        Tokens that one id stands for.
    partial_ids
        Whether the last id of a request may name a block that is not full.
    requests
        In file order.
    """

    name: str
    block_size: int
    partial_ids: bool
    requests: tuple[Request, ...]


def read_trace(path: str | Path, progress: Callable[[int], None] | None = None) -> Trace:
    """Read and check a whole trace.

    Parameters
    ----------
    path
        A `.jsonl` file, plain or packed with gzip or xz; `-` is standard input.
    progress
        Called now and then with the number of lines read so far.

    Raises
    ------
    TraceError
        A line cannot be used, or the file is cut off, or holds no request.
    OSError
        The file cannot be opened.

    Complexity
    ----------
    O(bytes); all ids are kept in memory.
    """
    name = "stdin" if str(path) == "-" else str(path)
    form: Form | None = None
    requests: list[Request] = []
    number = 0
    with opened(path) as stream:
        try:
            for number, line in enumerate(stream, start=1):
                if progress is not None and number % LINES_PER_PROGRESS == 0:
                    progress(number)
                text = line.rstrip()
                if not text:
                    continue
                record = _record(text)
                if form is None:
                    form = _form_of(record)
                try:
                    requests.append(form.request(record))
                except Malformed:
                    _refuse_another_form(record, form)
                    raise
        except Malformed as reason:
            raise TraceError(name, number, str(reason)) from None
        except READ_ERRORS as error:
            raise TraceError(name, number + 1, f"cannot read on: {error}") from error
    if form is None:
        raise TraceError(name, 1, "there is no request in it")
    return Trace(Path(name).name, form.block_size, form.partial_ids, tuple(requests))


def _record(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg}, at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if type(record) is not dict:
        raise Malformed(f"a JSON object was expected, and this is a {type(record).__name__}")
    return record


def _form_of(record: dict[str, Any]) -> Form:
    forms: tuple[Form, ...] = (MooncakeForm(), DeltaForm())
    for form in forms:
        if not form.keys.isdisjoint(record):
            return form
    known = "; ".join(f"{form.name}: {', '.join(sorted(form.keys))}" for form in forms)
    raise Malformed(f"this is no known form of a trace; the keys are, for {known}")


def _refuse_another_form(record: dict[str, Any], form: Form) -> None:
    """Say the better reason when a line is not wrong in itself but in the wrong file."""
    if form.keys.isdisjoint(record):
        other = _form_of(record)
        raise Malformed(
            f"the file begins in the {form.name} form, and this line is in the {other.name} form"
        )
