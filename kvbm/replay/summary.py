"""A trace in a few numbers.

What this is
    What a reader should know about a trace before looking at a hit rate, and what a sensible
    capacity is derived from.

Interface, as rules of use
    * Everything is counted from the ids as they stand in the trace, partial blocks included.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvbm.replay.trace import Trace


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one trace.

    Parameters
    ----------
    name, block_size
        Of the trace; the size in tokens.
    requests
        How many there are.
    references, distinct : blocks
        Ids of all prompts, and how many different ones there are among them.
    longest : blocks
        What the longest request fills, prompt and answer together.
    input_tokens, output_tokens : tokens
        Sums over all requests.
    """

    name: str
    block_size: int
    requests: int
    references: int
    distinct: int
    longest: int
    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, trace: Trace) -> Summary:
        """Count a trace. O(references)."""
        distinct: set[int] = set()
        for request in trace.requests:
            distinct.update(request.ids)
        return cls(
            name=trace.name,
            block_size=trace.block_size,
            requests=len(trace.requests),
            references=sum(len(request.ids) for request in trace.requests),
            distinct=len(distinct),
            longest=max(
                -(-(request.input_tokens + request.output_tokens) // trace.block_size)
                for request in trace.requests
            ),
            input_tokens=sum(request.input_tokens for request in trace.requests),
            output_tokens=sum(request.output_tokens for request in trace.requests),
        )

    def sensible_capacity(self) -> int:
        """Choose a capacity at which policies differ: about an eighth of the different blocks.

        Two leading digits, and never too small for the longest request.
        """
        eighth = max(1, self.distinct // 8)
        unit: int = 10 ** max(0, len(str(eighth)) - 2)
        return max(eighth // unit * unit, self.longest + 1)
