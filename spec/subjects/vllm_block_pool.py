"""vLLM's BlockPool as a subject.

What this is
    The pool below vLLM's KV cache manager: blocks with a reference count, one queue of free
    blocks that is the order of eviction as well, and a map from hash to blocks.

Interface, as rules of use
    * `VllmBlockPool` is the pool as it is; `disciplined` gives it a caller that makes no
      mistakes, as vLLM's own manager is one.
    * A handle is vLLM's own block, and the key that the caller has in mind for it. Nothing
      in it dies: what a second use does is the pool's answer.
    * vLLM has no word for staged: the adapter keeps the key until the block is cached. The
      real `Request` carries it, with a hasher that gives a key's own bytes.
    * vLLM keeps slot 0 as its null block, so a pool of n slots has n + 1 blocks.
    * A pool has no bytes: the adapter keeps eight of them for each slot, and asks vLLM's
      own `is_block_writable` before it writes, stages or resets.

Clauses: KV-LIF-01, KV-LIF-02, KV-INT-01
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import packages_distributions, version
from typing import Any

from kvbm_spec.disciplined import Disciplined
from kvbm_spec.subject import (
    SPEC_VERSION,
    Capabilities,
    Env,
    Event,
    Key,
    PoolConfig,
    PoolSnapshot,
    SlotView,
    SubjectError,
)

GROUP = 0
"""The one group of KV caches that there is here."""


def disciplined() -> Disciplined:
    """Make the pool with a caller that makes no mistakes."""
    return Disciplined(VllmBlockPool())


class VllmBlockPool:
    """The pool as it is."""

    name = "vLLM BlockPool"
    spec_version = SPEC_VERSION

    def __init__(self) -> None:
        self._pools: Any = import_module("vllm.v1.core.block_pool")
        self._requests: Any = import_module("vllm.v1.request")
        self._sampling: Any = import_module("vllm.sampling_params")
        self.version = version(packages_distributions()["vllm"][0])

    def capabilities(self) -> Capabilities:
        """Evict the least recently released; keep a second block of a key."""
        return Capabilities(policies=("lru",), duplicates=("allow",))

    def open(self, config: PoolConfig, env: Env) -> VllmPool:
        """See Subject. The pool uses neither clock nor seed."""
        del env
        pool = self._pools.BlockPool(
            config.slots + 1,
            enable_caching=True,
            hash_block_size=config.block_size,
            enable_kv_cache_events=True,
        )
        return VllmPool(pool, self._request, config)

    def _request(self, key: Key | None, tokens: list[int]) -> Any:
        """Make a request of one block that is called `key`, or that has no name yet."""
        names = [] if key is None else [name_of(key)]
        return self._requests.Request(
            request_id="one",
            prompt_token_ids=tokens,
            sampling_params=self._sampling.SamplingParams(max_tokens=1),
            pooling_params=None,
            block_hasher=lambda _: names,
        )


def name_of(key: Key) -> bytes:
    """Write a key as vLLM's hashes are: bytes."""
    return key.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class Held:
    """One of vLLM's blocks, and the key that its caller has in mind."""

    block: Any
    key: Key | None


class VllmPool:
    """One BlockPool. See `kvbm_spec.subject.Manager` for the methods."""

    def __init__(self, pool: Any, request: Any, config: PoolConfig) -> None:
        self._pool = pool
        self._request = request
        self._block_size = config.block_size
        self._staged: dict[int, Key] = {}  # block id -> what its caller has in mind
        self._bytes = [bytes(8)] * (config.slots + 1)

    # ── Manager ───────────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Held] | None:
        """Ask first, as vLLM's manager does: `get_new_blocks` raises."""
        if n > self._pool.get_num_free_blocks():
            return None
        return [Held(block, None) for block in self._pool.get_new_blocks(n)]

    def stage(self, handle: Held, key: Key, parent: Key | None = None) -> Held:
        """Remember the key."""
        del parent
        self._need_writable(handle)
        self._staged[handle.block.block_id] = key
        return Held(handle.block, key)

    def register(self, handle: Held) -> Held:
        """Cache the block under its key."""
        self._pool.cache_full_blocks(
            self._request(handle.key, [0] * self._block_size),
            [handle.block],
            num_cached_blocks=0,
            num_full_blocks=1,
            block_size=self._block_size,
            kv_cache_group_id=GROUP,
        )
        self._staged.pop(handle.block.block_id, None)
        return handle

    def match(self, keys: Sequence[Key]) -> list[Held]:
        """Look up one hash after the other, then touch, as vLLM's manager does."""
        hits = []
        for key in keys:
            found = self._pool.get_cached_block(name_of(key), [GROUP])
            if found is None:
                break
            hits.append(Held(found[0], key))
        self._pool.touch([hit.block for hit in hits])
        return hits

    def scan(self, keys: Sequence[Key]) -> dict[Key, Held]:
        """Look each up alone."""
        return {key: hit for key in dict.fromkeys(keys) for hit in self.match([key])}

    def release(self, handle: Held) -> None:
        """Free the block."""
        self._pool.free_blocks([handle.block])
        if handle.block.ref_cnt == 0:
            self._staged.pop(handle.block.block_id, None)

    def reset(self, handle: Held) -> Held:
        """Forget the key."""
        self._need_writable(handle)
        self._staged.pop(handle.block.block_id, None)
        return Held(handle.block, None)

    def drain_events(self) -> list[Event]:
        """Translate BlockStored and BlockRemoved; vLLM shortens a hash to 64 bits in them."""
        return [
            Event(type(event).__name__.removeprefix("Block"), int(name))
            for event in self._pool.take_events()
            for name in event.block_hashes
        ]

    def close(self) -> None:
        """There is no close: a pool lives as long as its object."""

    # ── Inspectable, Storing ──────────────────────────────────────────────────────────────

    def snapshot(self) -> PoolSnapshot:
        """Read the pool."""
        return look(self._pool, self._staged, _key)

    def write(self, handle: Held, data: bytes) -> None:
        """Fill a block that nobody else can see."""
        self._need_writable(handle)
        self._bytes[handle.block.block_id] = data

    def read(self, handle: Held) -> bytes:
        """Give the bytes of a block."""
        data: bytes = self._bytes[handle.block.block_id]
        return data

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _need_writable(self, handle: Held) -> None:
        if not self._pool.is_block_writable(handle.block):
            raise SubjectError("WrongState", f"vLLM does not call {handle.block} writable")


def look(pool: Any, staged: Mapping[int, Key], key_of: Callable[[bytes], Key]) -> PoolSnapshot:
    """Read the blocks, the queue and the map of a BlockPool; slot i is block i + 1."""

    def view(block: Any) -> SlotView:
        if block.block_hash is None:
            key = staged.get(block.block_id)
            state = "mutable" if key is None else "staged"
            return SlotView(state if block.ref_cnt else "free", key, block.ref_cnt)
        state = "active" if primaries.get(block.block_hash) is block else "duplicate"
        key = key_of(block.block_hash)
        return SlotView(state if block.ref_cnt else "inactive", key, block.ref_cnt)

    queue = pool.free_block_queue.get_all_free_blocks()
    index = pool.cached_block_hash_to_block
    primaries = {name: index.get_one_block(name) for name in index._cache}
    return PoolSnapshot(
        slots=tuple(view(block) for block in pool.blocks[1:]),
        registry={key_of(name): block.block_id - 1 for name, block in primaries.items()},
        free=tuple(block.block_id - 1 for block in queue if block.block_hash is None),
        inactive=tuple(block.block_id - 1 for block in queue if block.block_hash is not None),
        available=pool.get_num_free_blocks(),
    )


def _key(name: bytes) -> Key:
    """Read a hash with its group behind it."""
    return int.from_bytes(name[:32], "big")
