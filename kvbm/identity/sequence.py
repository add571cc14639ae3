"""A growing sequence of tokens, cut into blocks that have their names.

What this is
    The tokens of one request, prompt and output. Every block that fills up is hashed at
    once; the last, partial one waits. Because the hash of a block depends on nothing
    after it, shortening a sequence is forgetting: no block is hashed again.

    A sequence keeps all tokens in one array and the hashes in two lists, and makes
    `TokenBlock` objects when they are asked for. So extending by a prompt of 100,000
    tokens is one pass of the compiled hash and no loop over blocks.

Interface, as rules of use
    * `extend` and `append` say which blocks they completed.
    * `sequence_hashes` are the keys to look up; make `blocks` of those that missed.
    * `truncate`, `unwind` and `pop` shorten. A sequence with multimodal runs refuses
      them, since a run cannot be cut.
    * A call that raises has changed nothing.
    * After any calls the hashes are those of the tokens hashed from scratch.

Clauses: KV-IDN-01, KV-IDN-03
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, final, overload

import numpy as np

from kvbm.errors import InsufficientTokens, MultimodalRunsPresent
from kvbm.identity import schemes
from kvbm.identity.content import Windows
from kvbm.identity.multimodal import MultimodalRun, checked_runs, run_contents
from kvbm.identity.reference import Hashes, HashScheme
from kvbm.identity.token_block import Key, PartialTokenBlock, TokenBlock, salt_or_default
from kvbm.identity.tokens import (
    TokenArray,
    TokensLike,
    as_tokens,
    checked_block_size,
    checked_token,
    owned_tokens,
)

ALWAYS_CHECK = os.environ.get("KVBM_CHECK", "0") not in {"", "0"}


@final
class TokenBlockSequence:
    """The tokens of one request, with the hashes of its full blocks.

    Parameters
    ----------
    tokens : uint32[tokens]
        Or anything that `Tokens` accepts. They are copied.
    block_size : tokens
        At least 1.
    salt
        A `SaltHash`, or what the scheme calls a salt; None for that of no adapter and no
        namespace.
    scheme
        Name of the hash scheme, or a scheme.
    runs
        Multimodal runs in `tokens`.

    Raises
    ------
    InvalidToken, InvalidBlockSize, UnknownScheme, InvalidMultimodalRun, InvalidPosition
        The argument cannot be used.

    Complexity
    ----------
    O(tokens).

    Examples
    --------
    >>> sequence = TokenBlockSequence(range(1, 12), 4)
    >>> print(sequence)
    11 tokens: 2 blocks of 4, and 3 tokens
    >>> sequence.append(12)
    2
    >>> sequence.sequence_hashes
    [14643705804678351452, 4945711292740353085, 12583592247330656132]
    """

    __slots__ = (
        "_block_hashes",
        "_runs",
        "_scheme",
        "_sequence_hashes",
        "_tokens",
        "block_size",
        "salt",
    )

    def __init__(
        self,
        tokens: TokensLike = (),
        block_size: int = 16,
        salt: Key | None = None,
        *,
        scheme: str | HashScheme[Any] = "dynamo",
        runs: Iterable[MultimodalRun] = (),
    ) -> None:
        self._scheme = schemes.scheme(scheme)
        self.block_size = checked_block_size(block_size)
        self.salt: Key = salt_or_default(self._scheme, salt)
        self._tokens = array("I")
        self._block_hashes: list[Key] = []
        self._sequence_hashes: list[Key] = []
        self._runs: list[MultimodalRun] = []
        self.extend(tokens, runs=runs)

    # ── growing ───────────────────────────────────────────────────────────────────────────

    def append(self, token: int) -> int | None:
        """Add one token.

        Returns
        -------
        int or None
            Index of the block that it completed.

        Raises
        ------
        InvalidToken
            It is no integer in 0 … 2**32 - 1.

        Complexity
        ----------
        O(block_size) where it completes a block, else O(1).
        """
        checked = checked_token(token)
        if (len(self) + 1) % self.block_size:  # it completes no block, so nothing is hashed
            self._tokens.append(checked)
            return None
        self.extend((checked,))
        return len(self._sequence_hashes) - 1

    def extend(self, tokens: TokensLike, *, runs: Iterable[MultimodalRun] = ()) -> range | None:
        """Add tokens.

        Parameters
        ----------
        tokens : uint32[tokens]
            Or anything that `Tokens` accepts.
        runs
            Multimodal runs in the new tokens, with offsets in the whole sequence.

        Returns
        -------
        range or None
            Indices of the blocks that they completed.

        Raises
        ------
        InvalidToken, InvalidMultimodalRun
            An argument cannot be used.
        InvalidPosition
            The scheme cannot name a block so far into a sequence.

        Complexity
        ----------
        O(tokens + block_size).

        Clauses: KV-IDN-01
        """
        new = as_tokens(tokens)
        new_runs = checked_runs(runs, len(self), len(self) + new.size)
        complete = len(self._sequence_hashes)
        # All hashing comes before the first change, so that an error leaves nothing behind.
        block_hashes, sequence_hashes = self._hash(
            np.concatenate((self._tail(), new)), complete, [*self._runs, *new_runs]
        )
        self._tokens.frombytes(new.tobytes())
        self._runs += new_runs
        self._block_hashes += _plain(block_hashes)
        self._sequence_hashes += _plain(sequence_hashes)
        self._check_if_asked()
        return range(complete, len(self._sequence_hashes)) or None

    # ── shrinking ─────────────────────────────────────────────────────────────────────────

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens. Not fewer than there are: nothing changes.

        Raises
        ------
        InsufficientTokens
            `length` is negative.
        MultimodalRunsPresent
            The sequence holds multimodal runs.

        Complexity
        ----------
        O(tokens removed).

        Clauses: KV-IDN-01
        """
        self._refuse_to_cut_runs("truncate")
        if length < 0:
            raise InsufficientTokens(len(self) - length, len(self))
        del self._tokens[length:]
        complete = len(self) // self.block_size
        del self._block_hashes[complete:]
        del self._sequence_hashes[complete:]
        self._check_if_asked()

    def unwind(self, count: int) -> None:
        """Remove the last `count` tokens.

        Raises
        ------
        InsufficientTokens
            There are fewer, or `count` is negative; nothing was removed.
        MultimodalRunsPresent
            The sequence holds multimodal runs.

        Complexity
        ----------
        O(count).
        """
        self._refuse_to_cut_runs("unwind")
        if not 0 <= count <= len(self):
            raise InsufficientTokens(count, len(self))
        self.truncate(len(self) - count)

    def pop(self) -> int | None:
        """Remove and return the last token; None if there is none.

        Raises
        ------
        MultimodalRunsPresent
            The sequence holds multimodal runs.

        Complexity
        ----------
        O(1).
        """
        self._refuse_to_cut_runs("pop")
        if not self._tokens:
            return None
        last = self._tokens[-1]
        self.truncate(len(self) - 1)
        return last

    def reset(self) -> None:
        """Forget tokens, hashes and runs; keep block size, salt and scheme. O(tokens)."""
        for part in (self._tokens, self._block_hashes, self._sequence_hashes, self._runs):
            del part[:]

    # ── reading ───────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def total_tokens(self) -> int:
        """Tokens in full blocks and the partial one."""
        return len(self)

    @property
    def scheme(self) -> str:
        """Name of the hash scheme."""
        return self._scheme.name

    @property
    def block_hashes(self) -> list[Key]:
        """Block hashes of the full blocks, a copy. O(blocks)."""
        return self._block_hashes.copy()

    @property
    def sequence_hashes(self) -> list[Key]:
        """Sequence hashes of the full blocks, a copy. O(blocks)."""
        return self._sequence_hashes.copy()

    @property
    def blocks(self) -> TokenBlocks:
        """The full blocks: a live view, which makes a block when it is asked for one. O(1)."""
        return TokenBlocks(self)

    def block(self, index: int) -> TokenBlock:
        """Make the full block at `index`; negative ones count from the end. O(block_size)."""
        index = range(len(self._sequence_hashes))[index]
        start = index * self.block_size
        return TokenBlock(
            self.tokens_at(start, start + self.block_size),
            self.block_size,
            self.salt,
            self._block_hashes[index],
            self._sequence_hashes[index],
            self._sequence_hashes[index - 1] if index else None,
            index,
            self.scheme,
        )

    @property
    def current_block(self) -> PartialTokenBlock:
        """The partial block: a copy, which may be filled on its own. O(block_size)."""
        complete = len(self._sequence_hashes)
        partial = PartialTokenBlock(
            self.block_size,
            self.salt,
            self._scheme,
            self._last_hash(),
            complete,
            runs=self._runs,
        )
        partial.add_tokens(self._tail())
        return partial

    def tokens_at(self, start: int, stop: int) -> TokenArray:
        """Give the tokens `start` … `stop - 1` as a slice does: a copy. O(stop - start)."""
        return owned_tokens(self._tokens[start:stop])

    def into_parts(self) -> tuple[list[TokenBlock], PartialTokenBlock]:
        """Split into full blocks and the partial rest; the sequence stays as it is. O(tokens)."""
        return list(self.blocks), self.current_block

    def __str__(self) -> str:
        blocks, rest = divmod(len(self), self.block_size)
        return f"{len(self)} tokens: {blocks} blocks of {self.block_size}, and {rest} tokens"

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _tail(self) -> TokenArray:
        return self.tokens_at(len(self._sequence_hashes) * self.block_size, len(self))

    def _last_hash(self) -> Key | None:
        return self._sequence_hashes[-1] if self._sequence_hashes else None

    def _hash(
        self, tokens: TokenArray, position: int, runs: Sequence[MultimodalRun]
    ) -> tuple[Hashes, Hashes]:
        windows = Windows(tokens, self.block_size)
        media = run_contents(windows, position * self.block_size, runs)
        return self._scheme.hash_blocks(windows, self.salt, self._last_hash(), media)

    def _refuse_to_cut_runs(self, operation: str) -> None:
        if self._runs:
            raise MultimodalRunsPresent(operation)

    def _check_if_asked(self) -> None:
        if ALWAYS_CHECK:
            self._check()

    def _check(self) -> None:
        """Assert that the hashes are those of the tokens, hashed from scratch the plain way."""
        windows = Windows(as_tokens(self._tokens), self.block_size)
        media = run_contents(windows, 0, self._runs)
        plain = HashScheme.hash_blocks(self._scheme, windows, self.salt, None, media)
        assert plain == (self._block_hashes, self._sequence_hashes), (
            f"KV-IDN-01: {self} has hashes {self._sequence_hashes}, but its tokens have {plain[1]}"
        )


@final
class TokenBlocks(Sequence[TokenBlock]):
    """The full blocks of a sequence, a live view of it.

    A block is made anew each time it is asked for; equal ones compare equal.
    """

    __slots__ = ("_sequence",)

    def __init__(self, sequence: TokenBlockSequence) -> None:
        self._sequence = sequence

    def __len__(self) -> int:
        return len(self._sequence) // self._sequence.block_size

    @overload
    def __getitem__(self, index: int) -> TokenBlock: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenBlock]: ...
    def __getitem__(self, index: int | slice) -> TokenBlock | list[TokenBlock]:
        if isinstance(index, slice):
            return [self._sequence.block(each) for each in range(len(self))[index]]
        return self._sequence.block(index)


def _plain(hashes: Hashes) -> list[Any]:
    return hashes if isinstance(hashes, list) else hashes.tolist()
