"""An invented workload, for when there is no recorded one.

What this is
    Chat conversations behind one common system prompt. Some are about a document that others
    ask about too, and a few documents are far more popular than the rest. Every turn repeats
    all that was said before, answers included, so that prompts grow.

Interface, as rules of use
    * It is *invented*. Its shape follows what is published about chat services; its numbers are
      nobody's traffic, and no figure that comes out of it says anything about one.
    * The same arguments give the same trace.
    * Blocks are named as in the Mooncake form: an id stands for its whole prefix, the last id
      of a request may name a partial block, and an id always covers the same tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from kvbm.errors import InvalidConfig
from kvbm.replay.request import Request
from kvbm.replay.trace import Trace

BLOCK_SIZE = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """What the conversations are like; lengths in tokens, times in seconds.

    Each `median` belongs to a log-normal distribution, and its `spread` is the standard
    deviation of the logarithm: the larger it is, the heavier the tail.
    """

    system: int = 1_100
    documents: int = 150
    document_share: float = 0.3
    document_median: float = 6_000
    document_spread: float = 1.0
    popularity: float = 0.8
    question_median: float = 900
    question_spread: float = 1.5
    answer_median: float = 280
    answer_spread: float = 0.8
    longest_answer: int = 2_000
    longest_prompt: int = 120_000
    turns: float = 2.6
    think_median: float = 90
    think_spread: float = 1.0
    seconds_per_token: float = 0.02
    conversations_per_second: float = 1.0


DEFAULT_SHAPE = Shape()


class Turn(NamedTuple):
    """One request of one conversation. Turns sort by arrival, then by conversation."""

    arrival: float
    conversation: int
    document: int | None
    shared: int
    prompt: int
    answer: int


def generate(seed: int = 0, requests: int = 2_000, shape: Shape = DEFAULT_SHAPE) -> Trace:
    """Invent a trace.

    Parameters
    ----------
    seed
        Of the only source of random numbers.
    requests
        How many requests the trace has; the first ones of a longer trace with the same seed.
    shape
        What the conversations are like.

    Raises
    ------
    InvalidConfig
        `requests` is less than 1, or `seed` is negative.

    Complexity
    ----------
    O(blocks of all prompts).

    Examples
    --------
    >>> trace = generate(seed=1, requests=3)
    >>> [len(request.ids) == -(-request.input_tokens // 512) for request in trace.requests]
    [True, True, True]
    """
    if requests < 1:
        raise InvalidConfig("requests", requests, "must be at least 1")
    if seed < 0:
        raise InvalidConfig("seed", seed, "must not be negative")
    number_of: dict[tuple[str, int, int], int] = {}
    return Trace(
        name=f"an invented workload, seed {seed}",
        block_size=BLOCK_SIZE,
        partial_ids=True,
        requests=tuple(
            Request(
                arrival=round(turn.arrival, 3),
                input_tokens=turn.prompt,
                output_tokens=turn.answer,
                ids=tuple(
                    number_of.setdefault(prefix, len(number_of))
                    for prefix in _prefixes(turn, shape.system)
                ),
            )
            for turn in islice(_turns(np.random.default_rng(seed), shape), requests)
        ),
    )


def _prefixes(turn: Turn, system: int) -> Iterator[tuple[str, int, int]]:
    """Identify the prefix up to the end of each block: by the writer of its last token, and length.

    That is enough, because what stands before is always the same: a document stands behind
    the system prompt, and a conversation, which only grows, behind its document.
    """
    for end in (*range(BLOCK_SIZE, turn.prompt, BLOCK_SIZE), turn.prompt):
        if end <= system:
            yield "system", 0, end
        elif turn.document is not None and end <= turn.shared:
            yield "document", turn.document, end
        else:
            yield "conversation", turn.conversation, end


def _turns(dice: np.random.Generator, shape: Shape) -> Iterator[Turn]:
    """All turns of all conversations in order of arrival, without end."""
    ranks = np.arange(1, shape.documents + 1)
    weights = ranks**-shape.popularity
    popularity = weights / weights.sum()
    lengths = [
        _length(dice, shape.document_median, shape.document_spread, shape.longest_prompt // 2)
        for _ in ranks
    ]
    waiting: list[Turn] = []
    start = 0.0
    for conversation in count():
        start += dice.exponential(1 / shape.conversations_per_second)
        while waiting and waiting[0].arrival <= start:
            yield heapq.heappop(waiting)
        document, shared = None, shape.system
        if dice.random() < shape.document_share:
            document = int(dice.choice(len(lengths), p=popularity))
            shared += lengths[document]
        for turn in _conversation(dice, shape, Turn(start, conversation, document, shared, 0, 0)):
            heapq.heappush(waiting, turn)


def _conversation(dice: np.random.Generator, shape: Shape, opening: Turn) -> Iterator[Turn]:
    """One conversation: question, answer, a pause to read and think, the next question."""
    arrival, length = opening.arrival, opening.shared
    for _ in range(dice.geometric(1 / shape.turns)):
        length += _length(dice, shape.question_median, shape.question_spread, shape.longest_prompt)
        if length > shape.longest_prompt:
            return
        answer = _length(dice, shape.answer_median, shape.answer_spread, shape.longest_answer)
        yield opening._replace(arrival=arrival, prompt=length, answer=answer)
        length += answer
        arrival += answer * shape.seconds_per_token
        arrival += float(dice.lognormal(np.log(shape.think_median), shape.think_spread))


def _length(dice: np.random.Generator, median: float, spread: float, longest: int) -> int:
    """Draw a number of tokens from 1 to `longest`."""
    return min(longest, 1 + int(dice.lognormal(np.log(median), spread)))
