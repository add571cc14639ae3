"""How many blocks fit: from bytes of memory to blocks, in whole numbers.

What this is
    Sizes come in two units: gibibytes (2³⁰, as GPUs are sold) for the device, of which a
    share is used, and gigabytes (10⁹, as disks are sold) for host and disk.

Interface, as rules of use
    * Results are rounded down, so that blocks never take more than was given (KV-CAP-01).
    * Fractions are exact: 0.1 is a tenth.
    * Bytes per block: `model.bytes_per_block`, or `block_stride` where blocks are padded.

Clauses: KV-CAP-01
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from kvbm.config.model import KvManagerModelConfig
from kvbm.errors import InvalidConfig
from kvbm.layout import ChosenLayout, LayoutType, make_layout

GB: Final = 10**9
GIB: Final = 2**30
DEVICE_PERCENT: Final = 80
"""Percent of the blocks that fit a device which are used."""

Size = int | float | str | Decimal | Fraction


def blocks_from_gb(gigabytes: Size, bytes_per_block: int) -> int:
    """Count the blocks that fit `gigabytes` · 10⁹ bytes.

    Examples
    --------
    >>> blocks_from_gb("0.1", 8_388_608)
    11
    """
    return int(exact_size("gigabytes", gigabytes) * GB // bytes_per_block)


def blocks_from_gib(gibibytes: Size, bytes_per_block: int, percent: int = DEVICE_PERCENT) -> int:
    """Count the blocks that fit `gibibytes` · 2³⁰ bytes, and take `percent` of them.

    Examples
    --------
    >>> blocks_from_gib(24, 8_388_608), blocks_from_gib(24, 8_388_608, percent=100)
    (2457, 3072)
    """
    return int(exact_size("gibibytes", gibibytes) * GIB // bytes_per_block) * percent // 100


def block_stride(
    model: KvManagerModelConfig,
    layout_type: LayoutType | ChosenLayout = LayoutType.FullyContiguous,
    alignment: int = 1,
) -> int:
    """Count the bytes that one more block takes in this layout, padding included.

    Examples
    --------
    >>> model = KvManagerModelConfig(num_layers=3, outer_dim=1, page_size=1, inner_dim=10)
    >>> model.bytes_per_block, block_stride(model, alignment=64)
    (60, 64)
    """
    one, two = (
        sum(make_layout(layout_type, model.layout_config(count, alignment)).data_bytes)
        for count in (1, 2)
    )
    return two - one


def exact_size(field: str, value: object) -> Fraction:
    """Give a size as a fraction, or raise `InvalidConfig`: it is no number of at least 0."""
    try:
        if isinstance(value, bool) or not isinstance(value, Size):
            raise TypeError
        # By way of its text a float means what was written, not its nearest binary fraction.
        number = value if isinstance(value, Fraction) else Fraction(Decimal(str(value)))
    except (TypeError, ValueError, OverflowError, InvalidOperation):
        number = Fraction(-1)
    if number < 0:
        raise InvalidConfig(field, value, "must be a number of at least 0")
    return number
