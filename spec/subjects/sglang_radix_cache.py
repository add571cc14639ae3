"""SGLang's radix cache as a subject: `RadixCache` over `PagedTokenToKVPoolAllocator`.

What this is
    Two parts: an allocator that keeps a list of free pages, and a tree of token sequences
    that owns the pages of what it has cached. A page has as many tokens as a block.

Interface, as rules of use
    * `SglangRadixCache` is tree and allocator as they are. `disciplined` calls them as
      SGLang's scheduler does: it asks what there is before it allocates, lets the tree see
      the tokens again before it lets go of them, and makes no mistakes.
    * allocate = `evict_to_free_tokens`, then `alloc`; register = `insert`, then `lock`;
      match = `match_prefix`, then `lock`; release = `unlock`, or `free` for a page that the
      tree does not own; duplicates are freed by whoever inserts, as in `_insert_cache`.
    * A handle is a page, the key that its caller has in mind, and SGLang's own `TreeLock`.
    * What does not fit: a tree has no key without its ancestors, and the suite registers
      keys in any order. So each key is a sequence of one page here, a child of the root:
      prefixes longer than one block, splits of nodes and leaves-first are not asked about.
    * The `Cleared` that a tree sends when it is made is left out: nobody was there.

Clauses: KV-LIF-01, KV-LIF-02, KV-INT-01
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
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
)


def disciplined() -> Disciplined:
    """Make the cache as SGLang's scheduler calls it."""
    return Disciplined(SglangRadixCache(as_scheduler=True))


class SglangRadixCache:
    """Tree and allocator as they are, or called as SGLang's scheduler calls them."""

    name = "SGLang RadixCache"
    version = "unknown"
    spec_version = SPEC_VERSION

    def __init__(self, *, as_scheduler: bool = False) -> None:
        self._tree: Any = import_module("sglang.srt.mem_cache.radix_cache")
        self._allocator: Any = import_module("sglang.srt.mem_cache.allocator")
        self._torch: Any = import_module("torch")
        self._as_scheduler = as_scheduler
        self.version = version("sglang")

    def capabilities(self) -> Capabilities:
        """Evict the least recently used; free the page of a second block."""
        return Capabilities(policies=("lru",), duplicates=("reject",))

    def open(self, config: PoolConfig, env: Env) -> SglangPool:
        """See Subject. SGLang reads the machine's clock, and not the one of `env`."""
        del env
        allocator = self._allocator.PagedTokenToKVPoolAllocator(
            config.slots * config.block_size,
            config.block_size,
            self._torch.float16,
            "cpu",
            None,
            need_sort=False,
        )
        tree = self._tree.RadixCache.create_simulated(
            mock_allocator=allocator, page_size=config.block_size, enable_kv_cache_events=True
        )
        tree.take_events()
        return SglangPool(self._tree, tree, config, as_scheduler=self._as_scheduler)


@dataclass(frozen=True, slots=True)
class Held:
    """A page, the key that its caller has in mind, and the lock once the tree owns the page."""

    page: Any
    """Indices of its tokens, as the allocator gives them."""
    key: Key | None = None
    lock: Any = None


class SglangPool:
    """One tree and its allocator. See `kvbm_spec.subject.Manager` for the methods."""

    def __init__(self, module: Any, tree: Any, config: PoolConfig, *, as_scheduler: bool) -> None:
        self._module = module
        self._tree = tree
        self._pages = tree.token_to_kv_pool_allocator
        self._page_size = config.block_size
        self._slots = config.slots
        self._as_scheduler = as_scheduler
        self._owned: dict[int, Key | None] = {}  # page -> what its caller has in mind
        self._keys: dict[int, Key] = {}  # hash in events -> key
        self._bytes = [bytes(8)] * (config.slots + 1)

    # ── Manager ───────────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Held] | None:
        """Evict what is short, then take pages. A scheduler looks at its budget first."""
        need = n * self._page_size
        if self._as_scheduler and need > self._room():
            return None
        self._pages.evict_to_free_tokens(self._tree, need)
        given = self._pages.alloc(need)
        if given is None:
            return None
        pages = [Held(page) for page in given.reshape(n, self._page_size)]
        self._owned.update((self._number(each.page), None) for each in pages)
        return pages

    def stage(self, handle: Held, key: Key, parent: Key | None = None) -> Held:
        """Remember the key: SGLang learns it when it is inserted."""
        del parent
        self._owned[self._number(handle.page)] = key
        return Held(handle.page, key)

    def register(self, handle: Held) -> Held:
        """Insert the tokens, free the page if they were there, and lock what is there."""
        found = self._insert(handle)
        if handle.lock is None:
            self._pages.free_segment(handle.page[: found.prefix_len], start_pos=0)
            self._owned.pop(self._number(handle.page), None)
        node = found.last_device_node
        return Held(node.value, handle.key, self._tree.lock(node))

    def match(self, keys: Sequence[Key]) -> list[Held]:
        """Look up one key after the other, and lock each hit."""
        hits = []
        for key in keys:
            asked = self._module.MatchPrefixParams(key=self._name(key))
            found = self._tree.match_prefix(asked)
            if not found.device_prefix_len:
                break
            node = found.last_device_node
            hits.append(Held(node.value, key, self._tree.lock(node)))
        return hits

    def scan(self, keys: Sequence[Key]) -> dict[Key, Held]:
        """Look each up alone."""
        return {key: hit for key in dict.fromkeys(keys) for hit in self.match([key])}

    def release(self, handle: Held) -> None:
        """Unlock, after a last sight of the tokens as in `release_kv_cache`; or free a page."""
        if handle.lock is None:
            self._pages.free_segment(handle.page, start_pos=0)
            self._owned.pop(self._number(handle.page), None)
            return
        if self._as_scheduler:
            self._insert(handle)
        self._tree.unlock(handle.lock)

    def reset(self, handle: Held) -> Held:
        """Forget the key."""
        self._owned[self._number(handle.page)] = None
        return Held(handle.page)

    def drain_events(self) -> list[Event]:
        """Translate BlockStored, whose tokens are the key, and BlockRemoved."""
        events = []
        for event in self._tree.take_events():
            kind = type(event).__name__.removeprefix("Block")
            if kind == "Stored":
                (name,) = event.block_hashes
                self._keys[name] = _key(event.token_ids)
            events += [Event(kind, self._keys[name]) for name in event.block_hashes]
        return events

    def close(self) -> None:
        """There is no close: a tree lives as long as its object."""

    # ── Inspectable, Storing ──────────────────────────────────────────────────────────────

    def snapshot(self) -> PoolSnapshot:
        """Read the tree's nodes and the allocator's pages; slot i is page i + 1."""
        nodes = {self._number(n.value): n for n in self._tree.root_node.children.values()}
        rank = self._tree.eviction_strategy.get_priority
        resting = [page for page, node in nodes.items() if node.lock_ref == 0]
        free = self._pages.get_all_free_pages().tolist()
        return PoolSnapshot(
            slots=tuple(self._view(page, nodes, free) for page in range(1, self._slots + 1)),
            registry={_key(node.key.token_ids): page - 1 for page, node in nodes.items()},
            free=tuple(page - 1 for page in free),
            inactive=tuple(page - 1 for page in sorted(resting, key=lambda p: rank(nodes[p]))),
            available=self._room() // self._page_size,
        )

    def write(self, handle: Held, data: bytes) -> None:
        """Fill a page. SGLang has no word about who may."""
        self._bytes[self._number(handle.page)] = data

    def read(self, handle: Held) -> bytes:
        """Give the bytes of a page."""
        return self._bytes[self._number(handle.page)]

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _name(self, key: Key | None) -> Any:
        """Write a key as the tokens of one page."""
        rest = [0] * (self._page_size - 2)
        tokens = [] if key is None else [key >> 32, key & 0xFFFFFFFF, *rest]
        return self._module.RadixKey(array("q", tokens))

    def _insert(self, handle: Held) -> Any:
        name = self._name(handle.key)
        return self._tree.insert(self._module.InsertParams(key=name, value=handle.page))

    def _room(self) -> int:
        """Count the tokens that are free or evictable, as a scheduler's budget does."""
        return int(self._pages.available_size() + self._tree.evictable_size())

    def _number(self, page: Any) -> int:
        return int(page[0]) // self._page_size

    def _view(self, page: int, nodes: dict[int, Any], free: list[int]) -> SlotView:
        if page in nodes:
            node = nodes[page]
            state = "active" if node.lock_ref else "inactive"
            return SlotView(state, _key(node.key.token_ids), node.lock_ref)
        if page in free:
            return SlotView("free", None, 0)
        key = self._owned.get(page)
        return SlotView("mutable" if key is None else "staged", key, 1)


def _key(tokens: Sequence[int]) -> Key:
    """Read the tokens of one page."""
    return tokens[0] << 32 | tokens[1]
