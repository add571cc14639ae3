"""Scheme sha256: typed fields, and hashes that follow from the description alone."""

from __future__ import annotations

import hashlib
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import IdentityError
from kvbm.identity import block_hashes, scheme, sequence_hashes
from kvbm.identity.sha256 import Field, encode

FIELDS = st.none() | st.text(max_size=3) | st.binary(max_size=3) | st.integers(0, 2**64 - 1)


@pytest.mark.clause("KV-IDN-04")
@given(st.lists(FIELDS, max_size=4))
def test_the_encoding_can_be_read_back(fields: list[Field]) -> None:
    data, found = encode(*fields), []
    while data:
        kind, length = data[:1], int.from_bytes(data[1:9], "little")
        body, data = data[9 : 9 + length], data[9 + length :]
        if kind == b"N":
            found.append(None)
        elif kind == b"T":
            found.append(body.decode())
        elif kind == b"I":
            found.append(int.from_bytes(body, "little"))
        else:
            found.append(body)
    assert found == fields
    assert [type(field) for field in found] == [type(field) for field in fields]


@pytest.mark.clause("KV-IDN-04")
def test_names_are_told_apart_by_place_type_and_length() -> None:
    names = (None, "", "a", "ab", "bc", "c", "x")
    salts = {scheme("sha256").salt(*pair) for pair in itertools.product(names, repeat=2)}
    assert len(salts) == len(names) ** 2


@pytest.mark.clause("KV-IDN-02", "KV-IDN-05")
def test_the_hashes_follow_from_the_description() -> None:
    def sha256(*fields: bytes) -> bytes:
        kinds, bodies = fields[::2], fields[1::2]
        parts = (
            k + struct.pack("<Q", len(body)) + body for k, body in zip(kinds, bodies, strict=True)
        )
        return hashlib.sha256(b"".join(parts)).digest()

    salt = sha256(b"T", b"kvbm/1/salt", b"T", b"loraA", b"N", b"")
    block, parent = [], []
    for tokens in ((1, 2), (3, 4)):
        size = struct.pack("<Q", 2)
        body = struct.pack("<2I", *tokens)
        block.append(sha256(b"T", b"kvbm/1/block", b"B", salt, b"I", size, b"B", body, b"B", b""))
    parent.append(sha256(b"T", b"kvbm/1/sequence", b"N", b"", b"B", block[0]))
    parent.append(sha256(b"T", b"kvbm/1/sequence", b"B", parent[0], b"B", block[1]))
    assert block_hashes([1, 2, 3, 4], 2, lora_name="loraA", scheme="sha256") == block
    assert sequence_hashes([1, 2, 3, 4], 2, lora_name="loraA", scheme="sha256") == parent


@pytest.mark.clause("KV-IDN-03", "KV-IDN-04")
def test_the_border_between_tokens_and_media_is_part_of_the_hash() -> None:
    bare = block_hashes([1, 2, 3, 4], 4, scheme="sha256")
    eagle = block_hashes([1, 2, 3, 4], 3, is_eagle=True, scheme="sha256")
    media = block_hashes([1, 2], 2, mm=[[3 | 4 << 32]], scheme="sha256")
    assert len({*bare, *eagle, *media}) == 3


@pytest.mark.parametrize("salt", [1337, b"short", "text"])
def test_a_salt_has_32_bytes(salt: object) -> None:
    with pytest.raises(IdentityError, match="scheme sha256 needs 32 bytes"):
        scheme("sha256").checked_salt(salt)
