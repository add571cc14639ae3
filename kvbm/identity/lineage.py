"""128-bit hashes that also say where a block stands.

What this is
    A 64-bit sequence hash tells which prefix a block ends, and nothing else. The two
    forms here pack its position in, and a piece of a second hash, so that a reader who
    has only the keys can rebuild the tree of blocks, or find collisions.

        PositionalLineageHash     mode:2 | position:P | sequence hash:64 | parent fragment:R
        PositionalSequenceHash    mode:2 | position:P | block fragment:R | sequence hash:64

    Early positions need few bits, and what they spare goes to the fragment. The mode
    says how the bits are shared out; it follows from the position.

Interface, as rules of use
    * Both are ints of 128 bits: they compare, hash, sort and print in hex as such.
    * `PositionalLineageHash(number)` checks that the number can be one, so use it on
      whatever comes from outside; `pack` makes a new one from its parts.
    * Numbers sort by position, then sequence hash: their high bits are in that order.
    * Positions end at 2**24 (lineage) and 2**31 (sequence): one more is an error.
    * On the wire a lineage hash is 16 bytes, big end first. As text it is
      `position:sequence hash:parent fragment`, the hashes in base58.

Clauses: KV-IDN-02, KV-IDN-08
"""

from __future__ import annotations

from typing import NamedTuple, Self, final

from kvbm.errors import IdentityError, InvalidPosition
from kvbm.identity.tokens import exact_integer

WIRE_BYTES = 16
LONGEST_TEXT = len("16777215") + 2 * len(":jpXCZedGfVQ")  # eleven digits write 64 bits
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Mode(NamedTuple):
    """How 62 bits are shared between position and fragment."""

    number: int
    position_bits: int
    fragment_bits: int


LINEAGE_MODES = (Mode(0, 8, 54), Mode(1, 16, 46), Mode(2, 24, 38))
SEQUENCE_MODES = (*LINEAGE_MODES, Mode(3, 31, 31))
LINEAGE_POSITIONS = 2**24
SEQUENCE_POSITIONS = 2**31


def mode_of(position: int, modes: tuple[Mode, ...]) -> Mode:
    """Find the first mode that can hold `position`, or raise `InvalidPosition`."""
    for mode in modes:
        if 0 <= position < 2**mode.position_bits:
            return mode
    raise InvalidPosition(position, 2 ** modes[-1].position_bits)


def low_bits(value: int, bits: int) -> int:
    """Keep the lowest `bits` bits."""
    return value & ((1 << bits) - 1)


def position_of(number: int, mode: Mode) -> int:
    """Read the position, which comes after the two bits of the mode."""
    return low_bits(number >> (126 - mode.position_bits), mode.position_bits)


def checked_hash(value: int) -> int:
    """Give a 64-bit hash back; one bit more would be lost in packing."""
    if not 0 <= value < 2**64:
        raise IdentityError(f"{value!r} is no hash of 64 bits")
    return value


def checked_number(value: int, modes: tuple[Mode, ...]) -> int:
    """Give a number from outside back if its mode and position go together."""
    number = exact_integer(value)
    if number is None or not 0 <= number < 2**128:
        raise IdentityError(f"{value!r} is no integer of 128 bits")
    if number >> 126 >= len(modes):
        raise IdentityError(f"{number:#034x}: mode {number >> 126} does not exist")
    mode = modes[number >> 126]
    position = position_of(number, mode)
    if mode_of(position, modes) != mode:
        raise IdentityError(f"{number:#034x}: position {position} does not go with {mode}")
    return number


@final
class PositionalLineageHash(int):
    """Sequence hash, position, and a fragment of the parent's sequence hash.

    Raises
    ------
    IdentityError
        The number has more than 128 bits, or parts that do not go together.

    Examples
    --------
    >>> root = PositionalLineageHash.pack(0x5678, None, 0)
    >>> child = PositionalLineageHash.pack(0x1234, 0x5678, 1)
    >>> str(child), child.is_child_of(root)
    ('1:1111112PM:1111117af', True)
    """

    __slots__ = ()

    def __new__(cls, value: int) -> Self:
        """Take a number from outside."""
        self = super().__new__(cls, checked_number(value, LINEAGE_MODES))
        if self.position == 0 and self.parent_fragment:
            raise IdentityError(f"{self:#034x}: the block at position 0 has no parent")
        return self

    @classmethod
    def pack(cls, sequence_hash: int, parent_sequence_hash: int | None, position: int) -> Self:
        """Put a hash together from the 64-bit sequence hashes of a block and its parent.

        Parameters
        ----------
        sequence_hash, parent_sequence_hash
            64 bits; the parent's is None at position 0, and only there.
        position
            Index of the block in its sequence, 0 … 2**24 - 1.

        Raises
        ------
        InvalidPosition
            The position does not fit.
        IdentityError
            There is a parent at position 0, or none at another; or a hash has not 64 bits.

        Clauses: KV-IDN-08
        """
        mode = mode_of(position, LINEAGE_MODES)
        if (parent_sequence_hash is None) != (position == 0):
            raise IdentityError(
                f"parent {parent_sequence_hash!r} at position {position}: the block at "
                f"position 0 has no parent, and every other block has one"
            )
        head = mode.number << mode.position_bits | position
        fragment = low_bits(checked_hash(parent_sequence_hash or 0), mode.fragment_bits)
        # The parts are in order, so the checks of the constructor are spared.
        return super().__new__(
            cls, (head << 64 | checked_hash(sequence_hash)) << mode.fragment_bits | fragment
        )

    @property
    def mode(self) -> Mode:
        """How the bits are shared out."""
        return LINEAGE_MODES[self >> 126]

    @property
    def position(self) -> int:
        """Index of the block in its sequence."""
        return position_of(self, self.mode)

    @property
    def sequence_hash(self) -> int:
        """Sequence hash, 64 bits: that of scheme `dynamo`."""
        return low_bits(self >> self.mode.fragment_bits, 64)

    @property
    def parent_fragment(self) -> int:
        """Low bits of the parent's sequence hash; 0 at position 0."""
        return low_bits(self, self.mode.fragment_bits)

    def is_child_of(self, parent: PositionalLineageHash) -> bool:
        """Tell whether `parent` can be the block before this one. O(1).

        A chance match has the odds of the fragment's bits: at worst 1 in 2**38.
        """
        fragment = low_bits(parent.sequence_hash, self.mode.fragment_bits)
        return self.position == parent.position + 1 and self.parent_fragment == fragment

    def to_wire(self) -> bytes:
        """Give the 16 bytes, big end first."""
        return int.to_bytes(self, WIRE_BYTES, "big")

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """Read the 16 bytes; `IdentityError` for any other number of them."""
        if len(data) != WIRE_BYTES:
            raise IdentityError(
                f"a lineage hash has {WIRE_BYTES} bytes on the wire, not {len(data)}"
            )
        return cls(int.from_bytes(data, "big"))

    def __str__(self) -> str:
        text = f"{self.position}:{to_base58(self.sequence_hash)}"
        return text if self.position == 0 else f"{text}:{to_base58(self.parent_fragment)}"

    def __repr__(self) -> str:
        return f"PositionalLineageHash({int(self):#034x})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form.

        Raises
        ------
        IdentityError
            The text is not what `str` makes of a lineage hash.
        InvalidPosition
            Its position does not fit.

        Examples
        --------
        >>> PositionalLineageHash.parse("0:1111111j").sequence_hash
        42
        """
        if len(text) > LONGEST_TEXT:
            raise IdentityError(f"a text of {len(text)} characters is no lineage hash")
        head, *hashes = text.split(":")
        if not (head.isascii() and head.isdecimal()):
            raise IdentityError(f"{text!r} is no lineage hash: it starts with no position")
        position = int(head)
        if len(hashes) != (1 if position == 0 else 2):
            raise IdentityError(
                f"{text!r} is no lineage hash: {len(hashes)} hashes at position {position}"
            )
        sequence_hash, *parent = map(from_base58, hashes)
        made = cls.pack(sequence_hash, parent[0] if parent else None, position)
        if str(made) != text:
            raise IdentityError(f"{text!r} is no lineage hash; the nearest one is {str(made)!r}")
        return made


@final
class PositionalSequenceHash(int):
    """Sequence hash, position, and a fragment of the block's own hash.

    Examples
    --------
    >>> PositionalSequenceHash.pack(14643705804678351452, 14643705804678351452, 0)
    PositionalSequenceHash(0x0038e4d7fb2dca5ccb38e4d7fb2dca5c)
    """

    __slots__ = ()

    def __new__(cls, value: int) -> Self:
        """Take a number from outside."""
        return super().__new__(cls, checked_number(value, SEQUENCE_MODES))

    @classmethod
    def pack(cls, sequence_hash: int, block_hash: int, position: int) -> Self:
        """Put a hash together from 64-bit hashes; position 0 … 2**31 - 1.

        Raises
        ------
        InvalidPosition
            The position does not fit.
        IdentityError
            A hash has not 64 bits.
        """
        mode = mode_of(position, SEQUENCE_MODES)
        head = mode.number << mode.position_bits | position
        high = head << mode.fragment_bits | low_bits(checked_hash(block_hash), mode.fragment_bits)
        return super().__new__(cls, high << 64 | checked_hash(sequence_hash))

    @property
    def mode(self) -> Mode:
        """How the bits are shared out."""
        return SEQUENCE_MODES[self >> 126]

    @property
    def position(self) -> int:
        """Index of the block in its sequence."""
        return position_of(self, self.mode)

    @property
    def sequence_hash(self) -> int:
        """Sequence hash, 64 bits."""
        return low_bits(self, 64)

    @property
    def block_fragment(self) -> int:
        """Low bits of the block hash."""
        return low_bits(self >> 64, self.mode.fragment_bits)

    def __repr__(self) -> str:
        return f"PositionalSequenceHash({int(self):#034x})"


def to_base58(value: int) -> str:
    """Write 64 bits in base58, with a `1` for each leading zero byte."""
    data = value.to_bytes(8, "big")
    digits = ""
    while value:
        value, digit = divmod(value, 58)
        digits = BASE58[digit] + digits
    return "1" * (8 - len(data.lstrip(b"\0"))) + digits


def from_base58(text: str) -> int:
    """Read what `to_base58` wrote; `IdentityError` for other text."""
    value = 0
    for character in text:
        digit = BASE58.find(character)
        if digit < 0:
            raise IdentityError(f"{text!r} is no base58: {character!r} is none of its digits")
        value = value * 58 + digit
    if value >= 2**64 or to_base58(value) != text:
        raise IdentityError(f"{text!r} is no base58 of 64 bits")
    return value
