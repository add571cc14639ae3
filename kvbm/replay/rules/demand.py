"""What one request asks of an engine's cache, in blocks.

What this is
    The arithmetic that the rule sets `kvbm` and `mocker` share: an engine looks up full
    prompt blocks, must compute at least one prompt token, and keeps every token but the
    last generated one, which is never fed back.

Source: the rules of vLLM's block pool as NVIDIA's mocker 1.6.1 plays them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kvbm.blocks.slots import Keys
from kvbm.errors import InvalidConfig
from kvbm.replay.trace import Request, Trace

FIRST_FRESH_KEY = 1 << 62
"""Keys from here on are invented. A trace with ids as large is renumbered: see `demands`."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One request in blocks."""

    prompt: Keys  # uint64: keys of the full prompt blocks
    limit: int  # most blocks that may count as hits
    full: int  # blocks that are full in the end, prompt and answer
    blocks: int  # blocks that it fills, the last one perhaps in part

    @classmethod
    def of(cls, request: Request, block_size: int) -> Demand:
        """Count the blocks of one request. O(ids)."""
        tokens = request.input_tokens + max(request.output_tokens, 1) - 1
        prompt = request.ids[: request.input_tokens // block_size]
        return cls(
            np.array(prompt, np.uint64),
            (request.input_tokens - 1) // block_size,
            tokens // block_size,
            -(-tokens // block_size),
        )


def demands(trace: Trace) -> list[Demand]:
    """Count the blocks of each request. O(ids).

    Ids may have 64 bits. If one of them could be taken for an invented key, all are numbered
    in order of first use instead, which changes no result: only equality of ids counts.
    """
    requests: Sequence[Request] = trace.requests
    if any(max(request.ids, default=0) >= FIRST_FRESH_KEY for request in requests):
        number_of: dict[int, int] = {}
        requests = [
            replace(one, ids=tuple([number_of.setdefault(i, len(number_of)) for i in one.ids]))
            for one in requests
        ]
    return [Demand.of(request, trace.block_size) for request in requests]


def capacity_for(wanted: Sequence[Demand], blocks: int | None) -> int:
    """Check a capacity, or find one that never evicts.

    Raises
    ------
    InvalidConfig
        The longest request does not fit.
    """
    longest = max(demand.blocks for demand in wanted)
    if blocks is None:
        # Each prompt block once, once more where a whole prompt is repeated, and answers.
        distinct = len(np.unique(np.concatenate([demand.prompt for demand in wanted])))
        answers = sum(demand.full - len(demand.prompt) + 1 for demand in wanted)
        return distinct + answers + longest
    if blocks < longest:
        raise InvalidConfig("blocks", blocks, f"the longest request needs {longest}")
    return blocks


def checked_blocks(blocks: int | None) -> int | None:
    """Refuse a capacity without room for one block, by InvalidConfig."""
    if blocks is not None and blocks < 1:
        raise InvalidConfig("blocks", blocks, "must be at least 1")
    return blocks


def lookups(trace: Trace) -> Iterator[tuple[Sequence[int], int]]:
    """Give the ids that an engine looks up, and how many may count, per request."""
    for request in trace.requests:
        prompt = request.ids[: request.input_tokens // trace.block_size]
        yield prompt, (request.input_tokens - 1) // trace.block_size
