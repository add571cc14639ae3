"""The life of a block: one table from which code, checks and the diagram come.

What this is
    Seven states of a slot, and for every operation the state that it leads to.
    What is not in `TABLE` cannot happen.

        Reset ──► Partial ──► Complete ──► Registered ──╮      the block's state
        ╰──────── owned by one writer ──╯  ╰─ shared, read ─╯
          ▲─────────────────── evicted, or cleared ─────╯

    A slot is *empty* or *owned* while its block is not registered, and *active*,
    *inactive* or a *duplicate* when it is.

Interface, as rules of use
    * `after(operation, state)` gives the next state, or raises BlockStateInvalid.
    * `AFTER[operation, state]` is the same table for compiled loops, REFUSED where
      there is no transition.
    * `diagram()` and `table()` are what the documentation shows.

Clauses: KV-LIF-01
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from kvbm.errors import BlockStateInvalid


class State(IntEnum):
    """State of a slot. The first two are block state *Reset*, the last three *Registered*."""

    EMPTY = 0
    RESET = 1
    PARTIAL = 2
    COMPLETE = 3
    ACTIVE = 4
    INACTIVE = 5
    DUPLICATE = 6

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def block_state(self) -> str:
        """The block's state in the words of the documented API."""
        return _BLOCK_STATE[self]

    @property
    def role(self) -> str:
        """What the slot is to its pool: empty, owned, active, inactive or duplicate."""
        return _ROLE[self]


_BLOCK_STATE = ("Reset", "Reset", "Partial", "Complete", "Registered", "Registered", "Registered")
_ROLE = ("empty", "owned", "owned", "owned", "active", "inactive", "duplicate")


class Operation(IntEnum):
    """What can happen to a slot. One member may start from several states."""

    ALLOCATE = 0
    INIT_SEQUENCE = 1
    ADD_TOKENS = 2
    POP_TOKENS = 3
    COMMIT = 4
    APPLY_TOKEN_BLOCK = 5
    STAGE = 6
    RESET = 7
    REGISTER = 8
    REGISTER_DUPLICATE = 9
    REGISTER_REJECTED = 10
    ACQUIRE = 11
    RELEASE = 12
    CLEAR = 13
    RESTORE = 14

    @property
    def label(self) -> str:
        """The operation as people write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table: `operation` leads from `source` to `target` when `guard` holds."""

    operation: Operation
    source: State
    target: State
    guard: str = ""


TABLE: Final = (
    Transition(Operation.ALLOCATE, State.EMPTY, State.RESET, "longest empty first"),
    Transition(Operation.ALLOCATE, State.INACTIVE, State.RESET, "evicted: no slot is empty"),
    Transition(Operation.INIT_SEQUENCE, State.RESET, State.PARTIAL),
    Transition(Operation.ADD_TOKENS, State.PARTIAL, State.PARTIAL, "room for them"),
    Transition(Operation.POP_TOKENS, State.PARTIAL, State.PARTIAL, "as many are there"),
    Transition(Operation.COMMIT, State.PARTIAL, State.COMPLETE, "full"),
    Transition(Operation.APPLY_TOKEN_BLOCK, State.RESET, State.COMPLETE, "sizes are equal"),
    Transition(Operation.STAGE, State.RESET, State.COMPLETE),
    Transition(Operation.RESET, State.RESET, State.RESET),
    Transition(Operation.RESET, State.PARTIAL, State.RESET),
    Transition(Operation.RESET, State.COMPLETE, State.RESET),
    Transition(Operation.REGISTER, State.COMPLETE, State.ACTIVE, "hash is new"),
    Transition(
        Operation.REGISTER_DUPLICATE, State.COMPLETE, State.DUPLICATE, "hash is taken, allow"
    ),
    Transition(Operation.REGISTER_REJECTED, State.COMPLETE, State.EMPTY, "hash is taken, reject"),
    Transition(Operation.ACQUIRE, State.INACTIVE, State.ACTIVE, "match, scan, upgrade, register"),
    Transition(Operation.ACQUIRE, State.ACTIVE, State.ACTIVE, "one more holder"),
    Transition(Operation.ACQUIRE, State.DUPLICATE, State.DUPLICATE, "one more holder"),
    Transition(Operation.RELEASE, State.RESET, State.EMPTY),
    Transition(Operation.RELEASE, State.PARTIAL, State.EMPTY),
    Transition(Operation.RELEASE, State.COMPLETE, State.EMPTY),
    Transition(Operation.RELEASE, State.ACTIVE, State.INACTIVE, "last holder"),
    Transition(Operation.RELEASE, State.DUPLICATE, State.EMPTY, "last holder"),
    Transition(
        Operation.CLEAR, State.INACTIVE, State.EMPTY, "reset, reset_blocks, trigger_eviction"
    ),
    Transition(Operation.RESTORE, State.EMPTY, State.INACTIVE, "hash is new, bytes are there"),
)

REFUSED: Final = 255
"""In `AFTER`: there is no such transition."""


def _as_array() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    after = np.full((len(Operation), len(State)), REFUSED, np.uint8)
    for row in TABLE:
        after[row.operation, row.source] = row.target
    after.flags.writeable = False
    return after


AFTER: Final = _as_array()
"""uint8[operations, states]: the table as compiled loops read it."""

_WHY_REFUSED = {
    Operation.INIT_SEQUENCE: "Block is not reset",
    Operation.ADD_TOKENS: "Block is not partial",
    Operation.POP_TOKENS: "Block is not partial",
    Operation.COMMIT: "Block is not partial",
    Operation.APPLY_TOKEN_BLOCK: "Block is not reset",
    Operation.STAGE: "Block is not reset",
}


def after(operation: Operation, state: State) -> State:
    """Give the state that `operation` leads to.

    Raises
    ------
    BlockStateInvalid
        The table has no such row. Nothing has changed.

    Complexity
    ----------
    O(1).

    Clauses: KV-LIF-01

    Examples
    --------
    >>> after(Operation.COMMIT, State.PARTIAL)
    <State.COMPLETE: 3>
    """
    target = int(AFTER[operation, state])
    if target == REFUSED:
        reason = _WHY_REFUSED.get(operation, f"a block cannot {operation.label} from here")
        raise BlockStateInvalid(operation.label, state.block_state, reason)
    return State(target)


def table() -> str:
    """Render the transitions as a Markdown table."""
    names = {state: f"{state.block_state}, {state.role}" for state in State}
    lines = ["| operation | from | to | when |", "|---|---|---|---|"]
    lines += [
        f"| `{row.operation.label}` | {names[row.source]} | {names[row.target]} | {row.guard} |"
        for row in TABLE
    ]
    return "\n".join(lines)


def diagram() -> str:
    """Render the transitions as a Mermaid state diagram, one arrow a pair of states."""
    labels: dict[tuple[State, State], list[str]] = {}
    for row in TABLE:
        labels.setdefault((row.source, row.target), []).append(row.operation.label)
    lines = ["stateDiagram-v2", "    [*] --> EMPTY"]
    lines += [
        f"    {source.name} --> {target.name}: {', '.join(names)}"
        for (source, target), names in labels.items()
    ]
    return "\n".join(lines)
