"""Salts, to the bit: the expected numbers are those that Dynamo and KVBM 1.6.1 give."""

from __future__ import annotations

import itertools

import pytest

from kvbm.errors import IdentityError
from kvbm.identity import SaltHash, sequence_hashes
from kvbm.identity.reference import xxh3_64

DYNAMO = [
    (None, None, 1337),
    ("", "", 1337),
    ("loraA", None, 17081621119714621768),
    (None, "tenant/1", 17872940500874675315),
    ("loraA", "tenant/1", 16507817546879744130),
]

# Adapter, salt, value, and the sequence hashes of tokens 0 … 11 in blocks of 4.
DYNAMO_V1 = [
    (
        None,
        None,
        1389868326933519382,
        [10238245081298368321, 8879119628193018018, 17051657107574398741],
    ),
    (
        "loraA",
        None,
        14824891849260885750,
        [12363381229686614587, 11244890516327732121, 14030422898970335922],
    ),
    (
        None,
        "saltB",
        8585009003053281082,
        [5910630111152627026, 13471887756458387283, 5208468254490629657],
    ),
    (
        "loraA",
        "saltB",
        2996228539903777348,
        [8377879980002024807, 14400317341887169633, 4026342137234993895],
    ),
    (
        "",
        "",
        12084398670062075234,
        [18194964422938030069, 5690453760577616881, 17375294514169166324],
    ),
]


@pytest.mark.clause("KV-IDN-02")
@pytest.mark.parametrize(("adapter", "namespace", "salt"), DYNAMO)
def test_the_salt_of_dynamo(adapter: str | None, namespace: str | None, salt: int) -> None:
    assert SaltHash.dynamo(adapter, namespace) == salt


@pytest.mark.clause("KV-IDN-02")
@pytest.mark.parametrize(("adapter", "own", "salt", "chain"), DYNAMO_V1)
def test_the_salt_of_version_1_seeds_blocks_and_chain(
    adapter: str | None, own: str | None, salt: int, chain: list[int]
) -> None:
    assert SaltHash.dynamo_v1(adapter, own) == salt
    hashes = sequence_hashes(
        range(12), 4, lora_name=adapter, cache_namespace=own, scheme="dynamo-v1"
    )
    assert list(hashes) == chain


@pytest.mark.clause("KV-IDN-03")
def test_an_adapter_and_a_namespace_of_one_name_differ() -> None:
    pairs = [(None, None), ("x", None), (None, "x"), ("x", "x"), ("a", "bc"), ("ab", "c")]
    for make in (SaltHash.dynamo, SaltHash.dynamo_v1):
        assert len({make(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.clause("KV-IDN-04")
def test_version_1_tells_none_from_empty_and_a_number_from_text() -> None:
    names = (None, "", "7", "null")
    salts = {SaltHash.dynamo_v1(*pair) for pair in itertools.product(names, (*names, 7))}
    assert len(salts) == len(names) * (len(names) + 1)


def test_text_beyond_ascii_is_utf_8() -> None:
    name = "lora-é".encode()
    assert SaltHash.dynamo("lora-é") == (1337 + xxh3_64(name, 0)) % 2**64
    assert SaltHash.dynamo_v1("lora-é") == xxh3_64(b'{"lora_name":"' + name + b'"}')


def test_a_salt_is_an_int() -> None:
    assert SaltHash(5) == 5
    assert repr(SaltHash(5)) == "5"


@pytest.mark.parametrize("value", [-1, 2**64, True, 1.0, "1337", b"13", None])
def test_a_salt_has_64_bits(value: object) -> None:
    with pytest.raises(IdentityError, match=r"salt = .*: must be an integer in 0 … 2"):
        SaltHash(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [SaltHash.dynamo, SaltHash.dynamo_v1])
@pytest.mark.parametrize(
    ("name", "reason"), [(5, "must be text or None"), ("\ud800", "surrogate pair")]
)
def test_an_adapter_name_is_text(make: type[SaltHash], name: object, reason: str) -> None:
    with pytest.raises(IdentityError, match=f"lora_name = .*{reason}"):
        make(name)  # type: ignore[arg-type]


def test_a_boolean_is_no_salt_of_a_request() -> None:
    with pytest.raises(IdentityError, match="salt = True: must be text or None"):
        SaltHash.dynamo_v1(None, True)
