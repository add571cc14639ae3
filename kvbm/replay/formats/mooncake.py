"""The Mooncake form: every line is a whole request.

What this is
    `{"timestamp": ms, "input_length": L, "output_length": O, "hash_ids": [...]}`, with one id
    for each block of 512 prompt tokens. When 512 does not divide L, the last id names a
    partial block.

Interface, as rules of use
    * `request()` looks at one line only; lines may come in any order.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kvbm.replay.formats.fields import Malformed, check_distinct, check_ids, entries, time, tokens
from kvbm.replay.request import Request


class MooncakeForm:
    """Reader of the Mooncake form."""

    name: ClassVar[str] = "Mooncake"
    keys: ClassVar[frozenset[str]] = frozenset(
        ("timestamp", "input_length", "output_length", "hash_ids")
    )
    block_size: ClassVar[int] = 512
    partial_ids: ClassVar[bool] = True

    def request(self, record: dict[str, Any]) -> Request:
        """Check one line and make a request of it, or raise `Malformed`. O(ids)."""
        milliseconds = time(record, "timestamp")
        length = tokens(record, "input_length", least=1)
        output = tokens(record, "output_length")
        ids = entries(record, "hash_ids")
        blocks = -(-length // self.block_size)
        if len(ids) != blocks:
            raise Malformed(
                f"hash_ids has {len(ids)} ids, but {length} input tokens are {blocks} blocks "
                f"of {self.block_size}"
            )
        check_ids(ids, "hash_ids")
        check_distinct(ids, "hash_ids")
        return Request(milliseconds / 1000, length, output, tuple(ids))
