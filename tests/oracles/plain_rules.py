"""The three programs' rules once more, as plainly as the prose has them: oracles for tests.

Lists and dictionaries only, nothing of kvbm. A request is (L, O, ids).
"""

from __future__ import annotations

from collections.abc import Sequence

Request = tuple[int, int, Sequence[int]]


def mocker(requests: Sequence[Request], capacity: int, block: int) -> tuple[int, int]:
    """Give hit tokens and evictions."""
    plain, queue = capacity, []  # queue: block serials, head is evicted next
    name_of: dict[int, object] = {}
    blocks_of: dict[object, list[int]] = {}
    serial = hits = evictions = 0
    for prompt, output, ids in requests:
        full = list(ids[: prompt // block])
        run = 0
        while run < min(len(full), (prompt - 1) // block) and full[run] in blocks_of:
            run += 1
        held = [blocks_of[name][0] for name in full[:run]]
        for taken in held:
            queue.remove(taken)
        hits += run * block
        tokens = prompt + output - 1
        fresh = []
        for _ in range(-(-tokens // block) - run):
            if plain:
                plain -= 1
            else:
                victim = queue.pop(0)
                evictions += 1
                name = name_of.pop(victim)
                blocks_of[name].remove(victim)
                if not blocks_of[name]:
                    del blocks_of[name]
            fresh.append(serial)
            serial += 1
        for k, new in enumerate(fresh, start=run):
            if k < tokens // block:
                name = full[k] if k < len(full) else ("answer", new)
                name_of[new] = name
                blocks_of.setdefault(name, []).append(new)
        for freed in reversed(held + fresh):
            if freed in name_of:
                queue.append(freed)
            else:
                plain += 1
    return hits, evictions


def lmcache(requests: Sequence[Request], capacity: int, block: int) -> tuple[int, int]:
    """Give hit tokens and evictions."""
    stored: list[int] = []  # least recently touched first
    hits = evictions = 0
    for prompt, _, ids in requests:
        full = ids[: prompt // block]
        for name in full:
            if name not in stored:
                break
            hits += block
        for name in full:
            if name in stored:
                stored.remove(name)
            elif len(stored) == capacity:
                stored.pop(0)
                evictions += 1
            stored.append(name)
    return hits, evictions


def kvcache_sim(requests: Sequence[Request], capacity: int, block: int, policy: str) -> int | None:
    """Give the hit tokens of the second half, or None if the first half never fills it."""
    paths = [[tuple(ids[: depth + 1]) for depth in range(len(ids))] for _, _, ids in requests]
    number: dict[tuple[int, ...], int] = {}
    for path in paths:
        for node in path:
            number.setdefault(node, len(number))

    def next_use(node: tuple[int, ...], after: int) -> int:
        later = [i for i in range(after + 1, len(paths)) if node in paths[i]]
        return later[0] if later else len(paths) + 1

    key: dict[tuple[int, ...], int] = {}  # present nodes; order of storage
    clock = hits = 0
    filled = False
    for index, ((prompt, _, _), path) in enumerate(zip(requests, paths, strict=True)):
        run = 0
        while run < len(path) and path[run] in key:
            run += 1
        if index >= len(paths) // 2:
            hits += prompt if run == len(path) else run * block
        if policy != "fifo":
            for node in path[:run]:
                clock += 1
                key[node] = clock if policy == "lru" else next_use(node, index)
        for node in path[run:]:
            if node in key:
                continue
            if policy != "fifo" and len(node) > 1 and node[:-1] not in key:
                break
            if len(key) == capacity:
                if policy == "fifo":
                    victim = next(iter(key))
                else:
                    parents = {other[:-1] for other in key}
                    leaves = [n for n in key if n not in parents and n not in path[:run]]
                    if not leaves:
                        break
                    if policy == "lru":
                        victim = min(leaves, key=lambda n: key[n])
                    else:
                        victim = max(leaves, key=lambda n: (key[n], number[n]))
                        if key[victim] <= next_use(node, index):
                            break
                del key[victim]
                if policy != "fifo" and len(node) > 1 and node[:-1] not in key:
                    break
            clock += 1
            key[node] = clock if policy == "lru" else next_use(node, index)
            if index < len(paths) // 2:
                filled = filled or len(key) == capacity
    return hits if filled else None
