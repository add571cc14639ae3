"""Identity: what a subject shows of how it names blocks.

What this is
    The suite invents keys for a pool, and can do so without any of this. A subject that
    computes them, from tokens and from the fields beside them, shows it here, and then its
    hash is judged too. The protocols belong to the subject, not to one pool.

        class Mine:
            def identity_fields(self): return ("salt",)
            def hash_root(self): return "mine:0"
            def block_keys(self, tokens, block_size, identity): return my_keys(...)

Interface, as rules of use
    * A key is an int or bytes. A pool that is opened with `own_keys` takes them.
    * Of an `Identity` only the fields in `identity_fields` are ever set.
    * None says that a field was not given. An empty text was given, and is another value.
    * Same question, same answer: in every pool, process and machine.

Clauses: KV-IDN-01, KV-IDN-02, KV-IDN-06, KV-IDN-07, KV-REG-08, KV-ISO-03
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

from kvbm_spec.subject import Manager, PoolConfig

TEXTS: Final = ("salt", "namespace", "adapter", "model", "dtype", "layout")
"""Fields that are texts."""


@dataclass(frozen=True, slots=True)
class Media:
    """An image or a sound in the prompt, in the place of `length` tokens from `offset` on."""

    content: int
    """Its hash, 64 bits."""
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that names blocks beside their tokens."""

    salt: str | None = None
    namespace: str | None = None
    adapter: str | None = None
    model: str | None = None
    """The model with its revision."""
    dtype: str | None = None
    layout: str | None = None
    media: tuple[Media, ...] = ()
    parent: Any = None
    """Key of the block before the first token: one that the subject has given."""

    def having(self, **fields: Any) -> Identity:
        """Copy it with other values of some fields."""
        return replace(self, **fields)

    def __str__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name}={value!r}" for name, value in given if value not in (None, ()))


@runtime_checkable
class Hashing(Protocol):
    """A subject that names blocks. KV-IDN-01 to KV-IDN-05, KV-IDN-08"""

    def identity_fields(self) -> tuple[str, ...]:
        """Tell which fields of an `Identity` enter the keys."""
        ...

    def hash_root(self) -> str:
        """Tell scheme and root or seed, as `scheme:root`.

        Equal texts say that keys may be compared. A scheme of `data/vectors/hashes.json` is
        held to the vectors there.
        """
        ...

    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[Any]:
        """Name each full block, together with all before it. Tokens are 0 … 2³² - 1."""
        ...


@runtime_checkable
class Schemed(Protocol):
    """A subject that can name blocks in several ways. KV-IDN-02"""

    def schemes(self) -> Mapping[str, Hashing]:
        """Give what names blocks by each scheme that `data/vectors/hashes.json` knows."""
        ...


@runtime_checkable
class Separating(Protocol):
    """A subject that hashes and has tenants. KV-ISO-01 to KV-ISO-04"""

    def tenant_fields(self) -> tuple[str, ...]:
        """Tell which of the fields, all of them texts, keep users apart."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """A subject that may share blocks with another. KV-IDN-07"""

    def share(self, hash_root: str) -> None:
        """Agree to share with a subject of this root; refuse if it is not the own one."""
        ...


@runtime_checkable
class Exporting(Protocol):
    """A subject that puts blocks where others see them: files, objects, peers. KV-ISO-03"""

    def external_keys(
        self, tokens: Sequence[int], block_size: int, identity: Identity
    ) -> list[Any]:
        """Give the names of the blocks there, as `block_keys`."""
        ...


@runtime_checkable
class Reusing(Protocol):
    """A subject that says how much of a prompt a hit saves. KV-REG-08"""

    full_hit: str
    """Of a prompt whose every block is a hit: `n`, `n-1` tokens, or all but the `last block`."""

    def usable_tokens(self, pool: Manager, tokens: Sequence[int], block_size: int) -> int:
        """Match a prompt, let go again, and give the tokens that need not be computed."""
        ...


class Comparing(Protocol):
    """A pool in which all first blocks have one key, and tokens are compared. KV-IDN-06"""

    def publish(self, tokens: Sequence[int]) -> None:
        """Fill and register the block of these tokens, and let go of it."""
        ...

    def hits(self, tokens: Sequence[int]) -> int:
        """Count the blocks that a match of these tokens gives, and let go of them."""
        ...

    def collisions(self) -> int:
        """Count how often tokens differed under one key."""
        ...


@runtime_checkable
class Colliding(Protocol):
    """A subject whose hash can be weakened, to see that tokens are compared. KV-IDN-06"""

    def open_colliding(self, config: PoolConfig) -> Comparing:
        """Make a pool whose hash gives one key for all."""
        ...
