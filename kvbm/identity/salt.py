"""Salts: what keeps the blocks of adapters and tenants apart.

What this is
    The KV of a token depends on the adapter that computed it, and a tenant should not
    find what another one has cached. Both names become one 64-bit number, the seed of
    every block hash.

Interface, as rules of use
    * `SaltHash.dynamo` is the rule of Dynamo's router and of KVBM v2. Absent and empty
      names are the same there.
    * `SaltHash.dynamo_v1` is the rule of KVBM v1. It tells an empty name from none, and
      the number 7 from the text "7".
    * `SaltHash(number)` takes a salt that was made elsewhere.
    * A salt is no secret: who knows the names can compute it.

Clauses: KV-IDN-03, KV-IDN-04, KV-ISO-01
"""

from __future__ import annotations

import json
from typing import Self, final

from kvbm.errors import IdentityError
from kvbm.identity.reference import xxh3_64
from kvbm.identity.tokens import exact_integer

PLAIN_SALT = 1337
"""Salt of scheme `dynamo` when there is neither adapter nor namespace."""


@final
class SaltHash(int):
    """A salt of 64 bits. It is an int, so it compares, hashes and prints as one.

    Raises
    ------
    IdentityError
        The number is outside 0 … 2**64 - 1.

    Examples
    --------
    >>> SaltHash.dynamo() == 1337
    True
    """

    __slots__ = ()

    def __new__(cls, value: int) -> Self:
        """Take a salt that was made elsewhere."""
        number = exact_integer(value)
        if number is None or not 0 <= number < 2**64:
            raise IdentityError(f"salt = {value!r}: must be an integer in 0 … 2**64 - 1")
        return super().__new__(cls, number)

    @classmethod
    def dynamo(cls, lora_name: str | None = None, cache_namespace: str | None = None) -> Self:
        """Make the salt of scheme `dynamo`.

        The two names are hashed under different seeds, so that an adapter and a namespace
        of the same name differ.

        Clauses: KV-IDN-03

        Examples
        --------
        >>> SaltHash.dynamo(lora_name="loraA")
        17081621119714621768
        """
        adapter = checked_text("lora_name", lora_name)
        namespace = checked_text("cache_namespace", cache_namespace)
        salt = PLAIN_SALT
        if adapter:
            salt += xxh3_64(adapter.encode(), 0)
        if namespace:
            salt += xxh3_64(namespace.encode(), 1)
        return cls(salt % 2**64)

    @classmethod
    def dynamo_v1(cls, lora_name: str | None = None, salt: str | int | None = None) -> Self:
        """Make the salt of scheme `dynamo-v1`: the hash of a compact JSON object.

        `salt` is the request's own salt, text or a number; `lora_name` its adapter. What
        is None is left out of the object.

        Clauses: KV-IDN-03, KV-IDN-04

        Examples
        --------
        >>> SaltHash.dynamo_v1(lora_name="loraA", salt="saltB")
        2996228539903777348
        """
        own = exact_integer(salt)
        fields = {
            "salt": checked_text("salt", salt) if own is None else own,
            "lora_name": checked_text("lora_name", lora_name),
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return cls(xxh3_64(json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode()))


def checked_text(field: str, value: object) -> str | None:
    """Give `value` back if it is None or text that UTF-8 can hold.

    Raises
    ------
    IdentityError
        It is something else. The error names the field.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise IdentityError(f"{field} = {value!r}: must be text or None")
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise IdentityError(f"{field} = {value!r}: has half of a surrogate pair, which is no text")
    return value
