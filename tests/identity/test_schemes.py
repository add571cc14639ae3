"""The schemes: the fast way equals the plain way, and the table of names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvbm.errors import IdentityError, InvalidPosition, UnknownScheme
from kvbm.identity import (
    BlockContent,
    HashScheme,
    PositionalLineageHash,
    SaltHash,
    TokenBlockSequence,
    Windows,
    scheme,
    sequence_hashes,
)
from kvbm.identity.multimodal import object_contents

WIDTHS = {"dynamo": 64, "dynamo-v1": 64, "lineage": 128, "sha256": 256}


def as_list(hashes: object) -> list[object]:
    return hashes.tolist() if isinstance(hashes, np.ndarray) else list(hashes)  # type: ignore[call-overload]


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02")
@settings(max_examples=150)
@given(data=st.data())
def test_the_fast_way_equals_the_plain_way(data: st.DataObject) -> None:
    chosen = scheme(data.draw(st.sampled_from(["dynamo", "dynamo-v1", "lineage"])))
    block_size = data.draw(st.integers(1, 80) | st.integers(1, 600))
    count = data.draw(st.integers(0, 6 * block_size))
    seed = data.draw(st.integers(0, 2**32))
    tokens = np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)
    windows = Windows(tokens, block_size, data.draw(st.booleans()))
    objects = st.none() | st.lists(st.integers(0, 2**64 - 1), max_size=3)
    media = object_contents(windows, data.draw(st.none() | st.lists(objects, max_size=7)))
    salt = SaltHash(data.draw(st.integers(0, 2**64 - 1)))
    parent = data.draw(st.none() | st.integers(0, 2**64 - 1))
    if chosen.name == "lineage" and parent is not None:
        parent = PositionalLineageHash.pack(parent, 5, data.draw(st.sampled_from([7, 254, 65533])))
    fast = chosen.hash_blocks(windows, salt, parent, media)
    plain = HashScheme.hash_blocks(chosen, windows, salt, parent, media)
    assert [as_list(part) for part in fast] == [*plain]


def test_the_two_chains_are_equal_where_the_salt_is_the_chain_seed() -> None:
    chains = [
        TokenBlockSequence(range(12), 4, SaltHash(1337), scheme=name).sequence_hashes
        for name in ("dynamo", "dynamo-v1")
    ]
    assert chains[0] == chains[1]
    assert chains[0] != list(sequence_hashes(range(12), 4, scheme="dynamo-v1"))


def test_a_scheme_is_found_by_name_and_passes_through(scheme_name: str) -> None:
    found = scheme(scheme_name)
    assert found.name == scheme_name
    assert found.bits == WIDTHS[scheme_name]
    assert scheme(found) is found


@pytest.mark.parametrize("name", ["md5", "", None, 5, ["dynamo"]])
def test_an_unknown_scheme_names_those_that_are_known(name: object) -> None:
    with pytest.raises(UnknownScheme) as caught:
        scheme(name)  # type: ignore[arg-type]
    known = "dynamo, dynamo-v1, lineage, sha256"
    assert str(caught.value) == f"unknown hash scheme {name!r}; known are {known}"
    assert isinstance(caught.value, LookupError)


def test_a_salt_must_be_one_of_the_schemes(scheme_name: str) -> None:
    with pytest.raises(IdentityError, match="salt = 'x'"):
        scheme(scheme_name).checked_salt("x")


def test_a_lineage_ends_at_its_last_position_and_nothing_is_hashed() -> None:
    lineage = scheme("lineage")
    parent = PositionalLineageHash.pack(1, 2, 2**24 - 3)
    windows = Windows(np.arange(3, dtype=np.uint32), 1)
    with pytest.raises(InvalidPosition, match="position 16777216 is outside 0 … 16777215"):
        lineage.hash_blocks(windows, 1337, parent)
    two = Windows(windows.tokens[:2], 1)
    assert lineage.hash_blocks(two, 1337, parent)[1][-1].position == 2**24 - 1
    with pytest.raises(InvalidPosition):
        HashScheme.hash_blocks(lineage, windows, 1337, parent)


def test_a_scheme_of_ones_own_uses_the_plain_loop() -> None:
    class Sums(HashScheme[int]):
        name = "sums"
        bits = 64

        def salt(self, lora_name: str | None, cache_namespace: str | None) -> int:
            return len(lora_name or "") + len(cache_namespace or "")

        def checked_salt(self, salt: object) -> int:
            return int(str(salt))

        def block_hash(self, content: BlockContent, salt: int) -> int:
            return salt + sum(content.tokens)

        def root(self, block_hash: int) -> int:
            return block_hash

        def child(self, parent: int, block_hash: int, salt: int) -> int:
            return parent + block_hash + salt

    assert sequence_hashes([1, 2, 3, 4], 2, lora_name="a", scheme=Sums()) == [4, 13]
    assert TokenBlockSequence([1, 2, 3, 4], 2, 1, scheme=Sums()).sequence_hashes == [4, 13]
