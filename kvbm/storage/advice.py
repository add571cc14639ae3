"""Advice: how much a cache needs, where it belongs, and whether a storage is usable.

What this is
    Three small functions for configurations, with the documented results.

Interface, as rules of use
    * They look and say; nothing is allocated or changed.

Clauses: KV-CAP-01
"""

from __future__ import annotations

from typing import Final

from kvbm.errors import InvalidStorageConfig
from kvbm.storage.base import Storage, StorageKind, checked_integer

HOT: Final = 0.8
WARM: Final = 0.3
SMALL: Final = 100 << 20


def calculate_storage_requirements(
    num_layers: int,
    outer_dim: int,
    page_size: int,
    inner_dim: int,
    dtype_size: int,
    num_blocks: int,
) -> int:
    """Count the bytes of `num_blocks` blocks: the product of all six.

    Parameters
    ----------
    num_layers, outer_dim, page_size, inner_dim
        The model's layers, 2 for key and value, tokens in a block, elements of a token.
    dtype_size : bytes
        Size of an element.
    num_blocks : blocks
        How many.

    Returns
    -------
    int
        Bytes, without any padding between blocks.

    Examples
    --------
    >>> calculate_storage_requirements(32, 2, 16, 4096, 2, 1000)
    8388608000
    """
    fields = {
        "num_layers": num_layers,
        "outer_dim": outer_dim,
        "page_size": page_size,
        "inner_dim": inner_dim,
        "dtype_size": dtype_size,
        "num_blocks": num_blocks,
    }
    product = 1
    for field, value in fields.items():
        product *= checked_integer(field, value, 1)
    return product


def validate_storage(storage: Storage) -> None:
    """Raise `InvalidStorageConfig` for a storage without bytes, or without an address.

    Disk and Null storages have the address 0 and never pass: this is the check for memory.
    """
    if storage.size == 0:
        raise InvalidStorageConfig("size", 0, "a storage must have bytes")
    if storage.addr == 0:
        rule = f"{storage.storage_type} storage is no memory; allocate System, Pinned or Device"
        raise InvalidStorageConfig("addr", 0, rule)


def get_optimal_storage(access_frequency: float, size: int) -> StorageKind:
    """Say where data belongs by how often it is used, and by its size.

    Parameters
    ----------
    access_frequency
        From 0 (never) to 1 (always).
    size : bytes
        Size of the data.

    Examples
    --------
    >>> [get_optimal_storage(often, 1 << 20).value for often in (0.9, 0.8, 0.3)]
    ['Device', 'Pinned', 'Disk']
    >>> get_optimal_storage(0.8, 100 << 20).value
    'Disk'
    """
    if not 0 <= access_frequency <= 1:
        raise InvalidStorageConfig("access_frequency", access_frequency, "must be within 0 … 1")
    checked_integer("size", size, 0, "bytes")
    if access_frequency > HOT:
        return StorageKind.DEVICE
    if access_frequency > WARM and size < SMALL:
        return StorageKind.PINNED
    return StorageKind.DISK
