"""Read compiled kernels: how wide they load and store, and what they should not contain.

What this is
    Speed of a kernel that moves bytes is decided by a few facts of its code, and they can be
    read without a GPU: accesses of 16 bytes, several loads before the first store, no
    registers spilled to memory, no 64-bit division. `of_ptx` reads the compiler's output,
    `of_sass` the machine code.

Interface, as rules of use
    * `accesses` are all loads and stores of global memory, in the order of the text.
    * `in_flight` is the longest run of loads of 16 bytes that no store interrupts.
    * complaints() is empty for code as it should be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What was found in one kernel."""

    instructions: int
    accesses: tuple[str, ...]
    spills: int
    divisions: int

    @property
    def wide_loads(self) -> int:
        """Loads of 16 bytes."""
        return sum(_is_load(each) and _is_wide(each) for each in self.accesses)

    @property
    def wide_stores(self) -> int:
        """Stores of 16 bytes."""
        return sum(not _is_load(each) and _is_wide(each) for each in self.accesses)

    @property
    def in_flight(self) -> int:
        """Loads of 16 bytes that no store interrupts, at most."""
        longest = run = 0
        for each in self.accesses:
            run = run + _is_wide(each) if _is_load(each) else 0
            longest = max(longest, run)
        return longest

    def complaints(self) -> list[str]:
        """Say what no kernel of this package should contain."""
        found = []
        if self.spills:
            found.append(f"{self.spills} accesses to local memory")
        if self.divisions:
            found.append(f"{self.divisions} divisions of 64 bits")
        return found


def of_ptx(text: str) -> Code:
    """Read PTX. Registers are not assigned yet: `spills` counts local arrays."""
    body = re.sub(r"//.*", "", text)
    return Code(
        instructions=len(re.findall(r"^\s+(?:@!?%p\d+ )?[a-z]\w*\..*;", body, re.MULTILINE)),
        accesses=tuple(re.findall(r"\b(?:ld|st)\.global\.[\w.]+", body)),
        spills=len(re.findall(r"\.local\b", body)),
        divisions=len(re.findall(r"\b(?:div|rem)\.[su]64", body)),
    )


def of_sass(text: str) -> Code:
    """Read machine code, as nvdisasm writes it."""
    operations = re.findall(
        r"^\s*/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", text, re.MULTILINE
    )
    return Code(
        instructions=len(operations),
        accesses=tuple(each for each in operations if each.startswith(("LDG", "STG"))),
        spills=sum(each.startswith(("LDL", "STL")) for each in operations),
        divisions=len(re.findall(r"CALL\S* `?\(?\$?__internal", text)),
    )


def _is_load(access: str) -> bool:
    return access.startswith(("ld.", "LDG"))


def _is_wide(access: str) -> bool:
    return ".v2.u64" in access or ".128" in access
