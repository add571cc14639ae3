"""From tokens to the hashes of their blocks, in one call.

What this is
    Two functions with the same arguments: `block_hashes` names the content of each
    block, `sequence_hashes` everything up to its end. The second are the keys under
    which blocks are cached.

Interface, as rules of use
    * Give tokens as a uint32 array where speed matters.
    * A block that is not full is left out.
    * Equal sequence hashes mean an equal prefix: the hashes of a prefix are a prefix of
      the hashes.
    * The model, its revision, the KV's dtype and its layout do not enter unless they
      are a part of `cache_namespace`. Put them there when one cache serves several.

Clauses: KV-IDN-01, KV-IDN-02, KV-IDN-03
"""

from __future__ import annotations

from typing import Any

from kvbm.identity import schemes
from kvbm.identity.content import Windows
from kvbm.identity.multimodal import BlockObjects, object_contents
from kvbm.identity.reference import Hashes, HashScheme
from kvbm.identity.tokens import TokensLike, as_tokens, checked_block_size


def block_hashes(
    tokens: TokensLike,
    block_size: int,
    *,
    lora_name: str | None = None,
    cache_namespace: str | None = None,
    is_eagle: bool | None = False,
    mm: BlockObjects | None = None,
    scheme: str | HashScheme[Any] = "dynamo",
) -> Hashes:
    """Name the content of each full block.

    Parameters
    ----------
    tokens : uint32[tokens]
        Or anything that `Tokens` accepts.
    block_size : tokens
        At least 1.
    lora_name, cache_namespace
        Adapter and namespace, from which the salt is made.
    is_eagle
        Whether a block's hash also covers the first token after it. None means False.
    mm
        For each block the hashes of its media objects, or None; may be shorter than the
        list of blocks.
    scheme
        Name of the hash scheme, or a scheme.

    Returns
    -------
    uint64[blocks]
        A new array; with scheme `sha256` a list of 32 bytes each.

    Raises
    ------
    InvalidToken, InvalidBlockSize, UnknownScheme
        The argument of this name cannot be used.
    IdentityError
        Another one cannot; the error names it.

    Complexity
    ----------
    O(tokens).

    Clauses: KV-IDN-01, KV-IDN-03

    Examples
    --------
    >>> block_hashes(range(1, 13), 4).tolist()
    [14643705804678351452, 16777012769546811212, 483935686894639516]
    """
    return _hashes(tokens, block_size, lora_name, cache_namespace, is_eagle, mm, scheme)[0]


def sequence_hashes(
    tokens: TokensLike,
    block_size: int,
    *,
    lora_name: str | None = None,
    cache_namespace: str | None = None,
    is_eagle: bool | None = False,
    mm: BlockObjects | None = None,
    scheme: str | HashScheme[Any] = "dynamo",
) -> Hashes:
    """Name each full block together with all that came before it.

    Parameters and errors are those of `block_hashes`.

    Returns
    -------
    uint64[blocks]
        A new array. With scheme `lineage` a list of `PositionalLineageHash`, which are
        ints of 128 bits; with `sha256` a list of 32 bytes each.

    Raises
    ------
    InvalidPosition
        Scheme `lineage` was given more than 2**24 blocks.

    Complexity
    ----------
    O(tokens).

    Clauses: KV-IDN-01, KV-IDN-03

    Examples
    --------
    >>> sequence_hashes(range(1, 13), 4).tolist()
    [14643705804678351452, 4945711292740353085, 12583592247330656132]
    """
    return _hashes(tokens, block_size, lora_name, cache_namespace, is_eagle, mm, scheme)[1]


def _hashes(
    tokens: TokensLike,
    block_size: int,
    lora_name: str | None,
    cache_namespace: str | None,
    is_eagle: bool | None,
    mm: BlockObjects | None,
    scheme: str | HashScheme[Any],
) -> tuple[Hashes, Hashes]:
    chosen = schemes.scheme(scheme)
    windows = Windows(as_tokens(tokens), checked_block_size(block_size), bool(is_eagle))
    salt = chosen.salt(lora_name, cache_namespace)
    return chosen.hash_blocks(windows, salt, None, object_contents(windows, mm))
