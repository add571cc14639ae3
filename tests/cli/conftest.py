"""A rule set small enough to be checked by eye, in place of the real ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from kvbm.cli import replay as command
from kvbm.errors import InvalidConfig
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.trace import Trace


@dataclass(frozen=True)
class ListRules:
    """A list of ids: `lru` moves what is used to the recent end, `fifo` does not."""

    name: str = "kvbm"
    policies: tuple[str, ...] = ("fifo", "lru")
    default_policy: str = "lru"

    def replay(
        self,
        trace: Trace,
        *,
        blocks: int | None,
        policy: str | Any,
        observer: Observer | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayResult:
        if blocks is not None and blocks < 3:
            raise InvalidConfig("blocks", blocks, "must be at least 3")
        hit_blocks = hit_tokens = evictions = tick = 0
        used: OrderedDict[int, int] = OrderedDict()
        for index, (request, (ids, limit)) in enumerate(
            zip(trace.requests, self.lookups(trace), strict=True)
        ):
            run = next((at for at, name in enumerate(ids) if name not in used), len(ids))
            hit_blocks += min(run, limit)
            hit_tokens += min(run * trace.block_size, request.input_tokens)
            for name in ids:
                tick += 1
                if policy == "lru" or name not in used:
                    used.pop(name, None)
                used[name] = tick
                if blocks is not None and len(used) > blocks:
                    _, last = used.popitem(last=False)
                    evictions += 1
                    if observer is not None:
                        observer.evicted(np.array([tick - last]))
            if observer is not None:
                observer.after_request(index, (blocks or len(used)) - len(used), 0, len(used))
            if progress is not None:
                progress(index + 1)
        total = sum(request.input_tokens for request in trace.requests)
        return ReplayResult(
            rules=self.name,
            policy=policy,
            blocks=blocks,
            requests=len(trace.requests),
            hit_blocks=hit_blocks,
            total_blocks=sum(len(ids) for ids, _ in self.lookups(trace)),
            hit_tokens=hit_tokens,
            total_tokens=total,
            hit_rate=hit_tokens / total,
            evictions=evictions,
            seconds=0.125,
            note="lists are slow" if policy == "fifo" else None,
        )

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        return ((request.ids, len(request.ids)) for request in trace.requests)


@pytest.fixture(autouse=True)
def _list_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "RULES", {"kvbm": ListRules()})
