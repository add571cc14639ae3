"""One block of tokens: while it fills, and when it is full and has its names.

What this is
    `PartialTokenBlock` collects tokens. Its `commit` makes a `TokenBlock`, which never
    changes again and carries the hashes under which its KV is found.

Interface, as rules of use
    * Fill a partial block with `add_token` or `add_tokens`, then `commit` it. After that
      it is the next block of the sequence, and empty.
    * `add_tokens` takes what fits and gives back the rest.
    * A call that raises has changed nothing.
    * A partial block that holds a multimodal run can only grow.

Clauses: KV-IDN-01, KV-IDN-03
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

from kvbm.errors import (
    IdentityError,
    InsufficientTokens,
    MultimodalRunsPresent,
    TokenBlockEmpty,
    TokenBlockFull,
    TokenBlockIncomplete,
)
from kvbm.identity import schemes
from kvbm.identity.lineage import PositionalLineageHash
from kvbm.identity.multimodal import MultimodalRun, run_content
from kvbm.identity.reference import HashScheme
from kvbm.identity.tokens import (
    TokenArray,
    TokensLike,
    as_tokens,
    checked_block_size,
    checked_token,
    owned_tokens,
)

Key: TypeAlias = int | bytes
"""A hash or a salt: an int, or bytes in scheme `sha256`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class TokenBlock:
    """A full block of tokens and its names, as `commit` and `TokenBlockSequence` make it.

    Safe to keep: it never changes.
    """

    tokens: TokenArray
    """uint32[block_size], the block's own copy, read-only."""

    block_size: int
    """Tokens per block."""

    salt: Key
    """What keeps adapters and tenants apart."""

    block_hash: Key
    """Names the content of this block alone."""

    sequence_hash: Key
    """Names the content of this block and all before it. This is the key of its KV."""

    parent_sequence_hash: Key | None
    """Sequence hash of the block before; None for the first block."""

    position: int
    """Index of the block in its sequence."""

    scheme: str = "dynamo"
    """Name of the hash scheme. Hashes of two schemes cannot be compared."""

    def __len__(self) -> int:
        return self.tokens.size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenBlock):
            return NotImplemented
        return self._names() == other._names() and np.array_equal(self.tokens, other.tokens)

    def __hash__(self) -> int:
        return hash(self.sequence_hash)

    def __str__(self) -> str:
        return f"block {self.position}: {len(self)} tokens, {self.scheme} {self.sequence_hash!r}"

    def _names(self) -> tuple[object, ...]:
        own = self.block_hash, self.sequence_hash, self.parent_sequence_hash
        return (self.scheme, self.salt, self.position, *own)


@final
class PartialTokenBlock:
    """A block that is being filled.

    Parameters
    ----------
    block_size : tokens
        At least 1.
    salt
        Salt of the sequence; None for that of no adapter and no namespace.
    scheme
        Name of the hash scheme, or a scheme.
    parent
        Sequence hash of the block before; None for the first block.
    position
        Index of the block in its sequence: 0 for the first one and only for that.
    runs
        Multimodal runs of the sequence, checked and by ascending offset.

    Raises
    ------
    InvalidBlockSize, UnknownScheme
        The argument of this name cannot be used.
    IdentityError
        The salt is none of the scheme's, or parent and position do not go together.

    Examples
    --------
    >>> partial = PartialTokenBlock(4)
    >>> partial.add_tokens([1, 2, 3, 4, 5])
    array([5], dtype=uint32)
    >>> partial.commit().sequence_hash
    14643705804678351452
    >>> len(partial), partial.position
    (0, 1)
    """

    __slots__ = ("_runs", "_scheme", "_tokens", "block_size", "parent", "position", "salt")

    def __init__(
        self,
        block_size: int,
        salt: Key | None = None,
        scheme: str | HashScheme[Any] = "dynamo",
        parent: Key | None = None,
        position: int = 0,
        *,
        runs: Iterable[MultimodalRun] = (),
    ) -> None:
        self._scheme = schemes.scheme(scheme)
        self.block_size = checked_block_size(block_size)
        self.salt: Key = salt_or_default(self._scheme, salt)
        if position < 0 or (parent is None) != (position == 0):
            raise IdentityError(
                f"position {position} with parent {parent!r}: the first block is at position 0 "
                f"and has no parent; give every other block both"
            )
        if isinstance(parent, PositionalLineageHash) and parent.position + 1 != position:
            raise IdentityError(f"position {position} does not come after the parent, {parent}")
        self.parent: Key | None = parent
        self.position = position
        self._runs = tuple(runs)
        self._tokens = array("I")

    @property
    def scheme(self) -> str:
        """Name of the hash scheme."""
        return self._scheme.name

    @property
    def tokens(self) -> TokenArray:
        """uint32[len(self)], a copy, read-only."""
        return owned_tokens(self._tokens)

    @property
    def remaining(self) -> int:
        """Tokens that still fit."""
        return self.block_size - len(self)

    def __len__(self) -> int:
        return len(self._tokens)

    def add_token(self, token: int) -> None:
        """Add one token.

        Raises
        ------
        InvalidToken
            It is no integer in 0 … 2**32 - 1.
        TokenBlockFull
            There is no room.

        Complexity
        ----------
        O(1).
        """
        checked = checked_token(token)
        if not self.remaining:
            raise TokenBlockFull(self.block_size)
        self._tokens.append(checked)

    def add_tokens(self, tokens: TokensLike) -> TokenArray:
        """Add the tokens that fit.

        Returns
        -------
        uint32[…]
            The rest that did not fit: a read-only view of `tokens` where that is an array.

        Raises
        ------
        InvalidToken
            One of all the tokens is none; nothing was added.

        Complexity
        ----------
        O(tokens).
        """
        checked = as_tokens(tokens)
        fitting = checked[: self.remaining]
        self._tokens.frombytes(fitting.tobytes())
        return checked[fitting.size :]

    def pop_token(self) -> int:
        """Remove and return the last token.

        Raises
        ------
        TokenBlockEmpty
            There is none.
        MultimodalRunsPresent
            A multimodal run touches the block.

        Complexity
        ----------
        O(1).
        """
        self._refuse_to_cut_runs("pop_token")
        if not self._tokens:
            raise TokenBlockEmpty
        return self._tokens.pop()

    def pop_tokens(self, count: int) -> None:
        """Remove the last `count` tokens.

        Raises
        ------
        InsufficientTokens
            There are fewer, or `count` is negative; nothing was removed.
        MultimodalRunsPresent
            A multimodal run touches the block.

        Complexity
        ----------
        O(count).
        """
        self._refuse_to_cut_runs("pop_tokens")
        if not 0 <= count <= len(self):
            raise InsufficientTokens(count, len(self))
        del self._tokens[len(self) - count :]

    def commit(self) -> TokenBlock:
        """Make the full block, and become the empty one that follows it.

        Raises
        ------
        TokenBlockIncomplete
            The block is not full.
        InvalidPosition
            The scheme cannot name a block so far into a sequence.

        Complexity
        ----------
        O(block_size).

        Clauses: KV-IDN-01
        """
        if self.remaining:
            raise TokenBlockIncomplete(len(self), self.block_size)
        tokens = self.tokens
        content = run_content(tokens, self.position * self.block_size, self._runs)
        block_hash = self._scheme.block_hash(content, self.salt)
        if self.parent is None:
            sequence_hash = self._scheme.root(block_hash)
        else:
            sequence_hash = self._scheme.child(self.parent, block_hash, self.salt)
        block = TokenBlock(
            tokens,
            self.block_size,
            self.salt,
            block_hash,
            sequence_hash,
            self.parent,
            self.position,
            self.scheme,
        )
        self.parent = sequence_hash
        self.position += 1
        del self._tokens[:]
        return block

    def __str__(self) -> str:
        return f"block {self.position}: {len(self)} of {self.block_size} tokens"

    def _refuse_to_cut_runs(self, operation: str) -> None:
        first_token = self.position * self.block_size
        if any(run.end > first_token for run in self._runs):
            raise MultimodalRunsPresent(operation)


def salt_or_default(scheme: HashScheme[Any], salt: Key | None) -> Any:
    """Give `salt` as the scheme wants it, or the salt of no adapter and no namespace."""
    return scheme.salt(None, None) if salt is None else scheme.checked_salt(salt)
