"""Tokens: the ids of a text, as one read-only uint32 array.

What this is
    The edge where token ids come in. Behind it, everything works on contiguous uint32
    arrays whose values were checked once.

Interface, as rules of use
    * A uint32 array is taken as it is, without a copy. This is the fast path.
    * A list or tuple is converted in one step; do it once, at the edge.
    * A token is an integer in 0 … 2**32 - 1. Booleans and floats are refused, because
      they are mistakes more often than ids.
    * `Tokens` borrows: do not change an array while its `Tokens` are in use. What lives
      longer than a call, such as a block, takes its own copy with `owned_tokens`.

Clauses: KV-IDN-01, KV-IDN-08
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, final, overload

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import IdentityError, InvalidBlockSize, InvalidToken

TokenArray: TypeAlias = NDArray[np.uint32]
TokensLike: TypeAlias = "Tokens | Iterable[int] | NDArray[Any]"

LARGEST_TOKEN = 2**32 - 1


@final
class Tokens(Sequence[int]):
    """A sequence of token ids that was checked and can be hashed.

    Parameters
    ----------
    tokens
        A uint32 array (not copied), another array of integers, a list, a tuple or any
        iterable of integers.

    Raises
    ------
    InvalidToken
        An element is no integer in 0 … 2**32 - 1. The error names its index.
    IdentityError
        The array has more than one dimension, or the argument is text.

    Complexity
    ----------
    O(1) for a contiguous uint32 array, else O(tokens).

    Examples
    --------
    >>> Tokens([1, 2, 3]).array
    array([1, 2, 3], dtype=uint32)
    """

    __slots__ = ("array",)

    array: TokenArray
    """uint32[tokens], contiguous and read-only."""

    def __init__(self, tokens: TokensLike = ()) -> None:
        self.array = as_tokens(tokens)

    def __len__(self) -> int:
        return self.array.size

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Tokens: ...
    def __getitem__(self, index: int | slice) -> int | Tokens:
        if isinstance(index, slice):
            return Tokens(self.array[index])
        return int(self.array[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.array.tolist())

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype) if copy else np.asarray(self.array, dtype=dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return hash(self.array.tobytes())

    def __repr__(self) -> str:
        return f"Tokens({self.array.tolist()!r})"


def as_tokens(tokens: TokensLike) -> TokenArray:
    """Give `tokens` as a contiguous, read-only uint32 array; see `Tokens`.

    Returns
    -------
    uint32[tokens]
        A view of the argument where that is possible, so it is safe only as long as the
        caller leaves the argument alone.
    """
    if isinstance(tokens, Tokens):
        return tokens.array
    if isinstance(tokens, str | bytes | bytearray):
        raise IdentityError(f"{tokens[:20]!r} is text and not tokens; give the tokenizer's ids")
    if isinstance(tokens, array | memoryview) or hasattr(tokens, "__array__"):
        values = _from_array(np.asarray(tokens))
    else:
        values = _from_sequence(tokens if isinstance(tokens, list | tuple) else list(tokens))
    read_only = values.view()
    read_only.flags.writeable = False
    return read_only


def owned_tokens(tokens: TokenArray | array[int]) -> TokenArray:
    """Copy 32-bit tokens into a read-only array of their own, which nobody can change."""
    return np.frombuffer(tokens.tobytes(), dtype=np.uint32)


def checked_token(token: object, index: int = 0) -> int:
    """Give one token as an int, or raise `InvalidToken`. O(1)."""
    number = exact_integer(token)
    if number is None or not 0 <= number <= LARGEST_TOKEN:
        raise InvalidToken(index, token)
    return number


def exact_integer(value: Any) -> int | None:
    """Give an integer of any type as an int; None for everything else, booleans included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def checked_block_size(block_size: object) -> int:
    """Give `block_size` as an int of at least 1 token, or raise `InvalidBlockSize`."""
    size = exact_integer(block_size)
    if size is None or size < 1:
        raise InvalidBlockSize(block_size)
    return size


def _from_array(values: NDArray[Any]) -> TokenArray:
    if values.ndim != 1:
        raise IdentityError(f"tokens have the shape {values.shape}; give them in one dimension")
    if values.dtype == np.uint32:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "iu":
        return _from_sequence(values.tolist())
    outside = np.flatnonzero((values < 0) | (values > LARGEST_TOKEN))
    if outside.size:
        raise InvalidToken(int(outside[0]), values[outside[0]].item())
    return values.astype(np.uint32)


def _from_sequence(tokens: Sequence[int]) -> TokenArray:
    try:
        # Three times as fast as np.array, and it refuses what does not fit.
        values = np.asarray(array("I", tokens), dtype=np.uint32)
    except (TypeError, OverflowError):
        checked = [checked_token(token, index) for index, token in enumerate(tokens)]
        return np.array(checked, dtype=np.uint32)
    for index in np.flatnonzero(values <= 1).tolist():  # True and False have become 1 and 0
        checked_token(tokens[index], index)
    return values
