"""One request of a trace: how long it is, and which blocks its prompt consists of.

What this is
    The unit of every replay. It holds no tokens, only the names of blocks.

Interface, as rules of use
    * Equal ids mean equal prefixes: an id stands for its block *and all before it*.
    * An id occurs at most once in a request.
    * Whether the last id may name a partial block is a property of the trace, not of the
      request: see `Trace.partial_ids`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as a list of block ids, and the length of the answer.

    Parameters
    ----------
    arrival : seconds since the start of the trace, or None
        None where the trace has no common clock.
    input_tokens : tokens
        Length of the prompt.
    output_tokens : tokens
        Length of the generated answer.
    ids : blocks
        First block first.
    """

    arrival: float | None
    input_tokens: int
    output_tokens: int
    ids: tuple[int, ...]
