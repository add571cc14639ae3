"""Spoken hash: the keys of a program, asked for over its pipe.

What this is
    The calls of `identity` for a `ProcessSubject` whose program declares `hashing`.

Interface, as rules of use
    * `calls_for(declared)` gives the classes to mix in.
    * A long prompt is asked for in parts, each from the last key of the one before.

Clauses: KV-IDN-01, KV-IDN-02, KV-ISO-01
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from kvbm_spec.answer import Answer
from kvbm_spec.identity import TEXTS, Identity

PART: Final = 1024
"""Blocks that are asked for at once, where a block has one token."""


class Program(Protocol):
    """What is needed of a `ProcessSubject`."""

    hashing: Mapping[str, Any]

    def ask(self, operation: str, **arguments: Any) -> Answer:
        """Ask a program, whether it has a pool or not."""
        ...


class ProgramHash:
    """See `identity.Hashing`."""

    def identity_fields(self: Program) -> tuple[str, ...]:
        """Give what the program declared, and the parent, which all must know."""
        return (*self.hashing["fields"], "parent")

    def hash_root(self: Program) -> str:
        """Give what the program declared."""
        return str(self.hashing["root"])

    def block_keys(
        self: Program, tokens: Sequence[int], block_size: int, identity: Identity
    ) -> list[int]:
        """Ask for the keys."""
        part = PART * block_size if not identity.media else len(tokens) or 1
        fields = {name: asdict(identity)[name] for name in self.hashing["fields"]}
        parent, keys = identity.parent, []
        for start in range(0, len(tokens) or 1, part):
            answer = self.ask(
                "block_keys",
                tokens=list(tokens[start : start + part]),
                block_size=block_size,
                parent=parent,
                **fields,
            )
            keys += answer.numbers()
            parent = keys[-1] if keys else parent
        return keys


class ProgramTenants:
    """See `identity.Separating`."""

    def tenant_fields(self: Program) -> tuple[str, ...]:
        """Give what the program declared."""
        return tuple(self.hashing["tenants"])


def is_hashing(declared: Any) -> bool:
    """Tell whether a declaration has the right form."""
    if not isinstance(declared, dict) or not isinstance(declared.get("fields"), list):
        return False
    tenants = declared.get("tenants", [])
    fields = [*declared["fields"], *(tenants if isinstance(tenants, list) else [None])]
    return "root" in declared and all(name in (*TEXTS, "media") for name in fields)


def calls_for(declared: Mapping[str, Any]) -> tuple[type, ...]:
    """Give the classes of what a program declares under `hashing`."""
    if not declared:
        return ()
    return (ProgramHash, ProgramTenants) if declared.get("tenants") else (ProgramHash,)
