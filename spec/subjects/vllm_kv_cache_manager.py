"""vLLM's KV cache manager as a subject, one request for each block.

What this is
    The layer above the block pool: it knows requests, and which blocks each has. Its caller
    names a request, and never a block.

Interface, as rules of use
    * `VllmKVCacheManager` is the manager as it is; `disciplined` gives it a caller that
      makes no mistakes, as vLLM's scheduler is one.
    * A handle is a request with one block. Its tokens and hashes are real: a key is the
      tokens of one block, and vLLM's own hasher makes its name of them.
    * allocate = `allocate_slots`; stage = the request's tokens arrive; register =
      `cache_blocks`; match = `get_computed_blocks` for a prompt that is one token longer,
      then `allocate_slots` to hold them; release = `free`.
    * What does not fit: a prompt of several blocks. Handles are let go one by one, and a
      request frees all its blocks at once; so each key is a prompt of its own.
    * The manager does not tell whether a block may be written: it never writes.

Clauses: KV-LIF-01, KV-LIF-02, KV-INT-01
"""

from __future__ import annotations

from collections.abc import Sequence
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
)

from .vllm_block_pool import look


def disciplined() -> Disciplined:
    """Make the manager with a caller that makes no mistakes."""
    return Disciplined(VllmKVCacheManager())


class VllmKVCacheManager:
    """The manager as it is."""

    name = "vLLM KVCacheManager"
    spec_version = SPEC_VERSION

    def __init__(self) -> None:
        self._managers: Any = import_module("vllm.v1.core.kv_cache_manager")
        self._interface: Any = import_module("vllm.v1.kv_cache_interface")
        self._requests: Any = import_module("vllm.v1.request")
        self._sampling: Any = import_module("vllm.sampling_params")
        self._utils: Any = import_module("vllm.v1.core.kv_cache_utils")
        self._sha256: Any = import_module("vllm.utils.hashing").sha256
        self._half: Any = import_module("torch").float16
        self._utils.init_none_hash(self._sha256)
        self.version = version(packages_distributions()["vllm"][0])

    def capabilities(self) -> Capabilities:
        """Evict the least recently released; keep a second block of a key."""
        return Capabilities(policies=("lru",), duplicates=("allow",))

    def open(self, config: PoolConfig, env: Env) -> VllmManager:
        """See Subject. The manager uses neither clock nor seed."""
        del env
        size = config.block_size
        shape = self._interface.FullAttentionSpec(
            block_size=size, num_kv_heads=1, head_size=8, dtype=self._half
        )
        manager = self._managers.KVCacheManager(
            self._interface.KVCacheConfig(
                num_blocks=config.slots + 1,
                kv_cache_tensors=[],
                kv_cache_groups=[self._interface.KVCacheGroupSpec(["layer"], shape)],
            ),
            max_model_len=2 * size,
            scheduler_block_size=size,
            hash_block_size=size,
            enable_kv_cache_events=True,
        )
        hasher = self._utils.get_request_block_hasher(size, self._sha256)
        return VllmManager(manager, Requests(self._requests, self._sampling, hasher), config)


class Requests:
    """Makes vLLM's requests."""

    def __init__(self, requests: Any, sampling: Any, hasher: Any) -> None:
        self._requests, self._sampling, self._hasher = requests, sampling, hasher
        self._made = 0

    def new(self, tokens: list[int], name: str = "") -> Any:
        """Make a request with these tokens; it is a new one unless it has a name."""
        self._made += 1
        return self._requests.Request(
            request_id=name or str(self._made),
            prompt_token_ids=tokens,
            sampling_params=self._sampling.SamplingParams(max_tokens=1),
            pooling_params=None,
            block_hasher=self._hasher,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A request with one block."""

    request: Any
    block: int
    """Its number, which the manager gave when it was allocated."""


class VllmManager:
    """One KVCacheManager. See `kvbm_spec.subject.Manager` for the methods."""

    def __init__(self, manager: Any, requests: Requests, config: PoolConfig) -> None:
        self._manager = manager
        self._requests = requests
        self._size = config.block_size
        self._staged: dict[int, Key] = {}  # block -> what its request will be cached as
        self._keys: dict[int, Key] = {}  # hash in events -> key
        self._names: dict[bytes, Key] = {}  # hash -> key
        self._bytes = [bytes(8)] * (config.slots + 1)

    # ── Manager ───────────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Held] | None:
        """Ask first: for vLLM these are `n` requests, and each may be refused alone."""
        if n > self._manager.block_pool.get_num_free_blocks():
            return None
        return [self._hold(self._requests.new([]), self._size) for _ in range(n)]

    def stage(self, handle: Held, key: Key, parent: Key | None = None) -> Held:
        """Let the tokens of the block arrive."""
        del parent
        handle.request.append_output_token_ids(self._tokens(key))
        self._learn(handle.request, key)
        self._staged[handle.block] = key
        return handle

    def register(self, handle: Held) -> Held:
        """Cache the block of the request."""
        self._manager.cache_blocks(handle.request, self._size)
        self._staged.pop(handle.block, None)
        return handle

    def match(self, keys: Sequence[Key]) -> list[Held]:
        """Look for one prompt after the other, each one token longer than a block."""
        hits = []
        for key in keys:
            request = self._requests.new([*self._tokens(key), 0])
            self._learn(request, key)
            blocks, tokens, _ = self._manager.get_computed_blocks(request)
            if not tokens:
                break
            hits.append(self._hold(request, 0, tokens, blocks))
        return hits

    def scan(self, keys: Sequence[Key]) -> dict[Key, Held]:
        """Look for each alone."""
        return {key: hit for key in dict.fromkeys(keys) for hit in self.match([key])}

    def release(self, handle: Held) -> None:
        """Free what the request has."""
        self._manager.free(handle.request)
        self._staged.pop(handle.block, None)

    def reset(self, handle: Held) -> Held:
        """Begin the request anew: tokens cannot be taken back from one."""
        self._staged.pop(handle.block, None)
        return Held(self._requests.new([], handle.request.request_id), handle.block)

    def drain_events(self) -> list[Event]:
        """Translate BlockStored, whose tokens are the key, and BlockRemoved."""
        events = []
        for event in self._manager.take_events():
            kind = type(event).__name__.removeprefix("Block")
            if kind == "Stored":
                (name,) = event.block_hashes
                self._keys[name] = event.token_ids[0] << 32 | event.token_ids[1]
            events += [Event(kind, self._keys[name]) for name in event.block_hashes]
        return events

    def close(self) -> None:
        """There is no close: a manager lives as long as its object."""

    # ── Inspectable, Storing ──────────────────────────────────────────────────────────────

    def snapshot(self) -> PoolSnapshot:
        """Read the pool below."""
        return look(self._manager.block_pool, self._staged, lambda name: self._names[name[:32]])

    def write(self, handle: Held, data: bytes) -> None:
        """Fill a block."""
        self._bytes[handle.block] = data

    def read(self, handle: Held) -> bytes:
        """Give the bytes of a block."""
        return self._bytes[handle.block]

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _tokens(self, key: Key) -> list[int]:
        """Write a key as the tokens of one block."""
        return [key >> 32, key & 0xFFFFFFFF, *[0] * (self._size - 2)]

    def _learn(self, request: Any, key: Key) -> None:
        self._names.update((name, key) for name in request.block_hashes[:1])

    def _hold(self, request: Any, new: int, computed: int = 0, blocks: Any = None) -> Held:
        self._manager.allocate_slots(
            request, new, computed, blocks, delay_cache_blocks=True, has_scheduled_reqs=False
        )
        ((block,),) = self._manager.get_block_ids(request.request_id)
        return Held(request, block)
