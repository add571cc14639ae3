"""The delta form: every line says how a prompt differs from the one before it.

What this is
    `{"c": conversation, "t": s, "in": L, "out": O, "keep": k, "add": [[first, count], ...]}`.
    The prompt keeps the first `k` ids of the line before it (a new conversation starts from
    none) and appends the ids `first, first + 1, ...`. Only full blocks of 64 tokens have an id.

Interface, as rules of use
    * `request()` must see all lines in file order.
    * Ids are local to a conversation in the file, and made unique here: the same id of the
      same conversation always becomes the same number, and no other.
    * Conversations have no common clock, so that the requests carry no arrival.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import Any, ClassVar

from kvbm.replay.formats.fields import (
    Malformed,
    check_distinct,
    check_ids,
    entries,
    field,
    shown,
    time,
    tokens,
)
from kvbm.replay.request import Request


class DeltaForm:
    """Reader of the delta form."""

    name: ClassVar[str] = "delta"
    keys: ClassVar[frozenset[str]] = frozenset(("c", "t", "in", "out", "keep", "add"))
    block_size: ClassVar[int] = 64
    partial_ids: ClassVar[bool] = False

    def __init__(self) -> None:
        fresh = count().__next__
        self._number_of: defaultdict[str, defaultdict[int, int]] = defaultdict(
            lambda: defaultdict(fresh)
        )
        self._conversation: str | None = None
        self._ids: tuple[int, ...] = ()

    def request(self, record: dict[str, Any]) -> Request:
        """Check one line and make a request of it, or raise `Malformed`. O(ids)."""
        conversation = field(record, "c")
        if type(conversation) is not str:
            raise Malformed(f"c = {shown(conversation)}: must be a string")
        time(record, "t")
        length = tokens(record, "in", least=1)
        output = tokens(record, "out")
        kept = tokens(record, "keep")
        runs = [_run(entry, index) for index, entry in enumerate(entries(record, "add"))]

        before = self._ids if conversation == self._conversation else ()
        if kept > len(before):
            raise Malformed(
                f"keep = {kept}, but the line before it in this conversation has {len(before)} ids"
            )
        # Before any id is written out: a wrong count must not fill the memory.
        blocks = kept + sum(many for _, many in runs)
        if blocks != length // self.block_size:
            raise Malformed(
                f"keep and add give {blocks} ids, but {length} input tokens are "
                f"{length // self.block_size} full blocks of {self.block_size}"
            )
        number_of = self._number_of[conversation]
        ids = before[:kept] + tuple(
            number_of[local] for first, many in runs for local in range(first, first + many)
        )
        check_distinct(ids, "ids")
        self._conversation, self._ids = conversation, ids
        return Request(None, length, output, ids)


def _run(entry: Any, index: int) -> tuple[int, int]:
    if type(entry) is not list or len(entry) != 2:
        raise Malformed(f"add[{index}] = {shown(entry)}: must be [first, count]")
    check_ids(entry, f"add[{index}]")
    return entry[0], entry[1]
