"""The plain twin: the primitive, the chain, and the loop."""

from __future__ import annotations

import pytest

from kvbm.identity import HashScheme, Windows, scheme
from kvbm.identity.reference import chain_hash, xxh3_64
from kvbm.identity.tokens import as_tokens


@pytest.mark.clause("KV-IDN-02")
def test_a_block_hash_is_xxh3_of_little_endian_tokens() -> None:
    data = bytes.fromhex("01000000020000000300000004000000")
    assert xxh3_64(data, 1337) == 14643705804678351452


@pytest.mark.clause("KV-IDN-02")
def test_the_chain_hashes_parent_then_block() -> None:
    assert chain_hash(14643705804678351452, 16777012769546811212, 1337) == 4945711292740353085


@pytest.mark.clause("KV-IDN-01")
def test_the_first_block_is_not_hashed_again_and_a_parent_continues_the_chain() -> None:
    dynamo = scheme("dynamo")
    tokens = as_tokens(range(1, 13))
    blocks, chain = HashScheme.hash_blocks(dynamo, Windows(tokens, 4), 1337)
    assert blocks == [14643705804678351452, 16777012769546811212, 483935686894639516]
    assert chain == [14643705804678351452, 4945711292740353085, 12583592247330656132]
    rest = HashScheme.hash_blocks(dynamo, Windows(tokens[4:], 4), 1337, chain[0])
    assert rest == (blocks[1:], chain[1:])
