"""vLLM's block pool and hasher as peers, where vLLM is installed.

Interface, as rules of use
    * `find` gives None where vLLM cannot be imported; nothing is stubbed or patched.
    * The pool is driven as vLLM's own cache manager drives it: a look-up per hash, `touch`,
      `get_new_blocks`, `cache_full_blocks`, and `free_blocks` tail first.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import SimpleNamespace
from typing import Any, Self

BLOCK_SIZE, GROUP = 16, 0


class VllmPool:
    """vLLM's BlockPool of `blocks` usable blocks (it keeps one for itself)."""

    def __init__(self, pool_class: Any, version: str, blocks: int) -> None:
        self._pool = pool_class(blocks + 1, enable_caching=True, hash_block_size=BLOCK_SIZE)
        self.version = version

    @classmethod
    def find(cls, blocks: int) -> Self | None:
        """Make one, or None if there is no vLLM here."""
        try:
            module = importlib.import_module("vllm.v1.core.block_pool")
        except ImportError:
            return None
        installed = importlib.metadata.packages_distributions().get("vllm", ["vllm"])[0]
        return cls(module.BlockPool, importlib.metadata.version(installed), blocks)

    @staticmethod
    def request(hashes: list[bytes]) -> SimpleNamespace:
        """Make what the pool wants to see of a request."""
        return SimpleNamespace(block_hashes=hashes)

    def miss(self, request: Any) -> None:
        """Serve a request of which nothing is cached."""
        assert not self._look_up(request), "a cold request must miss"
        count = len(request.block_hashes)
        blocks = self._pool.get_new_blocks(count)
        self._pool.cache_full_blocks(request, blocks, 0, count, BLOCK_SIZE, GROUP)
        self._pool.free_blocks(reversed(blocks))

    def hit(self, request: Any) -> None:
        """Serve a request of which all is cached."""
        blocks = self._look_up(request)
        assert len(blocks) == len(request.block_hashes), "a warm request must hit"
        self._pool.touch(blocks)
        self._pool.free_blocks(reversed(blocks))

    def _look_up(self, request: Any) -> list[Any]:
        blocks = []
        for name in request.block_hashes:
            found = self._pool.get_cached_block(name, [GROUP])
            if not found:
                break
            blocks.append(found[0])
        return blocks
