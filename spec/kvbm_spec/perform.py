"""Perform: a call of a history, made on the model.

What this is
    Between the words of histories, where handles are symbols, and the functions of `model`,
    where handle n is the n-th: `h3` is handle 3.

Interface, as rules of use
    * `perform(state, op)` gives the next state, the answer with handles of the model, and
      the events; or raises `Refused`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from kvbm_spec.model import CALLS
from kvbm_spec.operations import Op, Symbol
from kvbm_spec.state import Events, Handle, State


@cache
def symbol_of(handle: Handle) -> Symbol:
    """Write a handle of the model as histories have it."""
    return f"h{handle}"


@cache
def handle_of(symbol: Symbol | None) -> Handle:
    """Read a handle of a history; -1, which is never given out, for any other text."""
    number = (symbol or "")[1:]
    return int(number) if number.isdecimal() else -1


def perform(state: State, op: Op) -> tuple[State, Any, Events]:
    """Make the call. The state that is given stays what it is."""
    call = CALLS[op.name]
    if op.name == "allocate":
        return call(state, op.n)
    if op.name in ("match", "scan"):
        return call(state, op.keys)
    if op.name == "stage":
        return call(state, handle_of(op.handle), op.keys[0], op.parent)
    return call(state, handle_of(op.handle))
