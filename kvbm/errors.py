"""Every error of kvbm, as one tree.

    KvbmError
    ├── InvalidConfig             (ValueError)         kind Invalid
    ├── NoSuchTier                (LookupError)        kind NotFound
    │   ├── UnknownSetting        (AttributeError)
    │   └── MissingSetting        (TypeError)
    ├── IdentityError             (ValueError)         kind Invalid
    │   ├── InvalidToken          (OverflowError)
    │   ├── InvalidBlockSize
    │   ├── InvalidPosition
    │   ├── InvalidHash           (TypeError)
    │   ├── UnknownScheme         (LookupError)
    │   ├── InvalidMultimodalRun
    │   └── MultimodalRunsPresent                      kind WrongState
    ├── TokenBlockError           (ValueError)         kind WrongState
    │   ├── TokenBlockFull
    │   ├── TokenBlockIncomplete
    │   ├── TokenBlockEmpty       (IndexError)
    │   └── InsufficientTokens    (IndexError)
    ├── BlockError
    │   ├── BlockStateInvalid     (RuntimeError)       kind WrongState
    │   ├── StaleHandleError      (LookupError)        kind StaleHandle
    │   ├── NotOwnerError         (PermissionError)    kind NotOwner
    │   └── ViewsNotAvailable     (TypeError)          kind Unsupported
    ├── BlockPoolError
    │   ├── NotEnoughBlocksAvailable (MemoryError)     kind Exhausted
    │   ├── BlockNotComplete      (ValueError)         kind WrongState
    │   ├── NoBlocksToRegister    (ValueError)         kind WrongState
    │   ├── BlockNotFound         (LookupError)        kind NotFound
    │   ├── NotPinned             (ValueError)         kind WrongState
    │   ├── NotReturnable         (RuntimeError)       kind WrongState
    │   ├── ResetError            (RuntimeError)       kind WrongState
    │   ├── ReentrantCall         (RuntimeError)       kind WrongState
    │   ├── BrokenPolicy          (RuntimeError)       kind WrongState
    │   ├── WaitCancelled         (TimeoutError)       kind Cancelled
    │   └── ProgressEngineShutdown (RuntimeError)      kind Closed
    ├── StorageError                                   kind Failed
    │   ├── InvalidStorageConfig (InvalidConfig)       kind Invalid
    │   ├── AllocationFailed      (MemoryError)        kind Exhausted
    │   ├── NotAccessible         (BufferError)        kind Unsupported
    │   ├── CudaUnavailable       (RuntimeError)       kind Unsupported
    │   ├── StorageClosed         (RuntimeError)       kind Closed
    │   ├── RegistrationKeyExists (ValueError)         kind WrongState
    │   ├── HandleNotFound        (LookupError)        kind NotFound
    │   └── OperationFailed       (RuntimeError)       kind Failed
    │       ├── OutOfBounds       (IndexError)         kind Invalid
    │       ├── DiskIoFailed      (OSError)            kind Failed
    │       └── DiskIoTimeout     (TimeoutError)       kind Cancelled
    ├── LayoutError
    │   ├── InvalidBlockIndex     (IndexError)         kind Invalid
    │   ├── InvalidLayerIndex     (IndexError)         kind Invalid
    │   ├── InvalidOuterIndex     (IndexError)         kind Invalid
    │   ├── NotContiguous         (BufferError)        kind Unsupported
    │   ├── AxesNotAvailable      (TypeError)          kind Unsupported
    │   ├── InvalidDescriptor     (ValueError)         kind Invalid
    │   └── LayoutMismatch        (ValueError)         kind Invalid
    ├── TransferError
    │   ├── CountMismatch         (ValueError)         kind Invalid
    │   ├── BlockOutOfRange       (IndexError)         kind Invalid
    │   ├── DuplicateDestinationBlocks (ValueError)    kind Invalid
    │   ├── OverlappingBlocks     (ValueError)         kind Invalid
    │   ├── InvalidRange          (ValueError)         kind Invalid
    │   ├── IncompatibleTypes     (TypeError)          kind Invalid
    │   │   └── UnsupportedTransfer                    kind Unsupported
    │   ├── TransferFailed        (RuntimeError)       kind Failed
    │   │   └── CorruptBlock      (ValueError)         kind Corrupt
    │   ├── TransferCancelled     (CancelledError)     kind Cancelled
    │   ├── TransfersAbandoned    (TimeoutError)       kind Cancelled
    │   └── TransferEngineClosed  (RuntimeError)       kind Closed
    └── TraceError                (ValueError)         kind Invalid

`kind` is the language-neutral name that the conformance suite compares. Message
texts are for people: they name the object and say what to do next. Each class also
derives the nearest builtin, so that code which knows nothing of kvbm catches it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError
from enum import Enum
from typing import ClassVar


class ErrorKind(Enum):
    """Language-neutral name of a refusal.

    `INVALID` is for input that no state could accept, `FAILED` for what machines do to us:
    input and state were fine, and a disk or a driver was not.
    """

    NOT_FOUND = "NotFound"
    EXHAUSTED = "Exhausted"
    WRONG_STATE = "WrongState"
    STALE_HANDLE = "StaleHandle"
    NOT_OWNER = "NotOwner"
    CORRUPT = "Corrupt"
    CANCELLED = "Cancelled"
    CLOSED = "Closed"
    UNSUPPORTED = "Unsupported"
    FAILED = "Failed"
    INVALID = "Invalid"


class KvbmError(Exception):
    """Base of all errors of this package."""

    kind: ClassVar[ErrorKind] = ErrorKind.INVALID


class InvalidConfig(KvbmError, ValueError):
    """A setting has a value that it cannot have. Carries `field`, `value` and `rule`."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} = {value!r}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule


class UnknownSetting(InvalidConfig, AttributeError):
    """There is no setting of this name. Carries `field` and `known`."""

    def __init__(self, place: str, field: str, known: Sequence[str]) -> None:
        near = difflib.get_close_matches(field, known, n=1)
        rule = f"did you mean {near[0]!r}? " if near else ""
        rule += f"Known are {', '.join(known)}" if known else "It has none"
        KvbmError.__init__(self, f"{place} has no setting {field!r}; {rule}")
        self.field, self.value, self.rule = field, None, rule
        self.known = tuple(known)


class MissingSetting(InvalidConfig, TypeError):
    """A setting that has no default was not given. Carries `field`."""

    def __init__(self, place: str, field: str) -> None:
        KvbmError.__init__(self, f"{place} needs {field}, which has no default; set it")
        self.field, self.value, self.rule = field, None, "has no default; set it"


class NoSuchTier(KvbmError, LookupError):
    """A tier was asked for that the manager does not have. Carries `tier` and `tiers`."""

    kind = ErrorKind.NOT_FOUND

    def __init__(self, tier: str, tiers: tuple[str, ...]) -> None:
        there = ", ".join(tiers) or "none"
        super().__init__(f"there is no tier {tier}; configured are: {there}")
        self.tier = tier
        self.tiers = tiers


# ── identity ──────────────────────────────────────────────────────────────────────────────


class IdentityError(KvbmError, ValueError):
    """Something that should name a block cannot do so."""


class InvalidToken(IdentityError, OverflowError):
    """A token is outside 0 … 2³² - 1. Carries `index` and `token`."""

    def __init__(self, index: int, token: object) -> None:
        super().__init__(f"token {token!r} at index {index} is no integer in 0 … 4294967295")
        self.index = index
        self.token = token


class InvalidBlockSize(IdentityError):
    """A block size is not a positive number of tokens. Carries `block_size`."""

    def __init__(self, block_size: object) -> None:
        super().__init__(f"block_size = {block_size!r}: must be an integer of at least 1 token")
        self.block_size = block_size


class InvalidPosition(IdentityError):
    """A block's position does not fit the hash form. Carries `position` and `limit`."""

    def __init__(self, position: int, limit: int) -> None:
        super().__init__(
            f"position {position} is outside 0 … {limit - 1}, which is all that this hash can hold"
        )
        self.position = position
        self.limit = limit


class InvalidHash(IdentityError, TypeError):
    """A sequence hash is not what the pool's scheme makes. Carries `index`, `value`, `bits`."""

    def __init__(self, index: int, value: object, bits: int) -> None:
        super().__init__(f"sequence hash {value!r} at index {index} is no value of {bits} bits")
        self.index = index
        self.value = value
        self.bits = bits


class UnknownScheme(IdentityError, LookupError):
    """There is no hash scheme of this name. Carries `name` and `known`."""

    def __init__(self, name: object, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown hash scheme {name!r}; known are {', '.join(known)}")
        self.name = name
        self.known = known


class InvalidMultimodalRun(IdentityError):
    """A run of multimodal placeholders is empty, too long, or overlaps. Carries `position`."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"multimodal run at token {position}: {reason}")
        self.position = position


class MultimodalRunsPresent(IdentityError):
    """A sequence with multimodal runs can only grow: cutting it would cut a run."""

    kind = ErrorKind.WRONG_STATE

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"{operation}: the sequence holds multimodal runs and cannot be shortened; "
            f"build a new sequence from the tokens and runs that remain"
        )
        self.operation = operation


class TokenBlockError(KvbmError, ValueError):
    """Tokens do not fit what the block has or needs."""

    kind = ErrorKind.WRONG_STATE


class TokenBlockFull(TokenBlockError):
    """One more token was given to a full block. Carries `block_size`."""

    def __init__(self, block_size: int) -> None:
        super().__init__(f"the block holds {block_size} of {block_size} tokens; commit it first")
        self.block_size = block_size


class TokenBlockIncomplete(TokenBlockError):
    """A block was committed before it was full. Carries `tokens` and `block_size`."""

    def __init__(self, tokens: int, block_size: int) -> None:
        super().__init__(f"the block holds {tokens} of {block_size} tokens; fill it first")
        self.tokens = tokens
        self.block_size = block_size


class TokenBlockEmpty(TokenBlockError, IndexError):
    """A token was taken from a block without tokens."""

    def __init__(self) -> None:
        super().__init__("the block holds no tokens, so there is none to take")


class InsufficientTokens(TokenBlockError, IndexError):
    """More tokens were to be removed than there are. Carries `requested` and `available`."""

    def __init__(self, requested: int, available: int) -> None:
        super().__init__(f"cannot remove {requested} tokens, there are {available}")
        self.requested = requested
        self.available = available


# ── blocks ────────────────────────────────────────────────────────────────────────────────


class BlockError(KvbmError):
    """A call on one block was refused."""

    kind = ErrorKind.WRONG_STATE


class BlockStateInvalid(BlockError, RuntimeError):
    """The block's state does not allow the operation. Carries `operation` and `state`."""

    def __init__(self, operation: str, state: str, reason: str) -> None:
        super().__init__(f"{operation}: {reason} (it is {state})")
        self.operation = operation
        self.state = state


class StaleHandleError(BlockError, LookupError):
    """A handle was used after it had been staged, registered or released."""

    kind = ErrorKind.STALE_HANDLE

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"{handle} was already consumed; keep the handle that the last call returned"
        )


class NotOwnerError(BlockError, PermissionError):
    """A handle was given to a pool that did not make it."""

    kind = ErrorKind.NOT_OWNER

    def __init__(self, handle: str) -> None:
        super().__init__(f"{handle} belongs to another pool; give it to the pool that made it")


class ViewsNotAvailable(BlockError, TypeError):
    """The bytes of a block were asked for, and its pool has none: it is purely logical."""

    kind = ErrorKind.UNSUPPORTED

    def __init__(self, handle: str) -> None:
        super().__init__(f"{handle} has no bytes here; its pool is not one of a KvBlockManager")


# ── pools ─────────────────────────────────────────────────────────────────────────────────


class BlockPoolError(KvbmError):
    """A call on a pool was refused."""

    kind = ErrorKind.WRONG_STATE


class NotEnoughBlocksAvailable(BlockPoolError, MemoryError):
    """An allocation asked for more than is empty or inactive. Nothing was taken."""

    kind = ErrorKind.EXHAUSTED

    def __init__(self, requested: int, available: int) -> None:
        super().__init__(
            f"requested {requested} blocks, {available} available; release some, or wait for "
            f"them with wait_for_blocks()"
        )
        self.requested = requested
        self.available = available


class BlockNotComplete(BlockPoolError, ValueError):
    """A block without content was to be registered. All blocks of the call are given back."""

    def __init__(self, block_id: int, state: str) -> None:
        super().__init__(
            f"block {block_id} is {state}, and only a Complete block can be registered; fill it "
            f"and commit(), or use apply_token_block() or stage()"
        )
        self.block_id = block_id
        self.state = state


class NoBlocksToRegister(BlockPoolError, ValueError):
    """`register_blocks` was called with nothing to register."""

    def __init__(self) -> None:
        super().__init__("register_blocks needs at least one block")


class BlockNotFound(BlockPoolError, LookupError):
    """A hash that must be registered is not. Carries `sequence_hash`."""

    kind = ErrorKind.NOT_FOUND

    def __init__(self, sequence_hash: object) -> None:
        super().__init__(f"no block is registered under {sequence_hash!r}")
        self.sequence_hash = sequence_hash


class NotPinned(BlockPoolError, ValueError):
    """A pin was removed that had not been set. Counts are never clamped."""

    def __init__(self, sequence_hash: object) -> None:
        super().__init__(f"{sequence_hash!r} has no pin to remove; pair each unpin with one pin")
        self.sequence_hash = sequence_hash


class NotReturnable(BlockPoolError, RuntimeError):
    """A block with other holders cannot be given back. The handle stays usable."""

    def __init__(self, block_id: int, holders: int) -> None:
        super().__init__(f"block {block_id} has {holders} holders; only a sole one can return it")
        self.block_id = block_id
        self.holders = holders


class ResetError(BlockPoolError, RuntimeError):
    """The pool cannot be reset while blocks are held. Nothing changed."""

    def __init__(self, total: int, available: int) -> None:
        super().__init__(f"total blocks: {total}, available blocks: {available}; release the rest")
        self.total = total
        self.available = available


class ReentrantCall(BlockPoolError, RuntimeError):
    """A policy called the pool that is calling it."""

    def __init__(self) -> None:
        super().__init__(
            "the pool is in the middle of a call of this thread; an eviction policy must not call "
            "the pool back"
        )


class BrokenPolicy(BlockPoolError, RuntimeError):
    """An eviction policy gave fewer victims than it was asked for and holds. Nothing was taken."""

    def __init__(self, policy: object, requested: int, delivered: int) -> None:
        super().__init__(f"{policy!r} was asked for {requested} victims and gave {delivered}")
        self.requested = requested
        self.delivered = delivered


class WaitCancelled(BlockPoolError, TimeoutError):
    """The blocks that were waited for did not come in time, or the pool was closed."""

    kind = ErrorKind.CANCELLED

    def __init__(self, requested: int, reason: str) -> None:
        super().__init__(f"stopped waiting for {requested} blocks: {reason}")
        self.requested = requested


class ProgressEngineShutdown(BlockPoolError, RuntimeError):
    """The pool is closed."""

    kind = ErrorKind.CLOSED

    def __init__(self) -> None:
        super().__init__("the block pool is closed")


# ── storage ───────────────────────────────────────────────────────────────────────────────


class StorageError(KvbmError):
    """Memory or a file could not be had, reached or used."""

    kind = ErrorKind.FAILED


class InvalidStorageConfig(StorageError, InvalidConfig):
    """A storage was asked for, or given, that cannot be. Carries `field` and `value`."""

    kind = ErrorKind.INVALID


class AllocationFailed(StorageError, MemoryError):
    """There is no room for a storage. Nothing was taken. Carries `storage`, `size`, `reason`."""

    kind = ErrorKind.EXHAUSTED

    def __init__(self, storage: str, size: int, reason: str) -> None:
        super().__init__(f"{storage} storage of {size} bytes: {reason}")
        self.storage = storage
        self.size = size
        self.reason = reason


class NotAccessible(StorageError, BufferError):
    """The bytes are not where this call could reach them. Carries `storage`."""

    kind = ErrorKind.UNSUPPORTED

    def __init__(self, storage: str, operation: str, instead: str) -> None:
        super().__init__(f"{operation} cannot reach the bytes of {storage} storage; {instead}")
        self.storage = storage


class CudaUnavailable(StorageError, RuntimeError):
    """Memory of a CUDA device was asked for, and there is no way to it. Carries `device_id`."""

    kind = ErrorKind.UNSUPPORTED

    def __init__(self, device_id: int, missing: str) -> None:
        super().__init__(
            f"DeviceAllocator({device_id}) needs CUDA: {missing}; use "
            f"DeviceAllocator.emulated({device_id}), which is host memory that stands in for it"
        )
        self.device_id = device_id


class StorageClosed(StorageError, RuntimeError):
    """A storage was used after its close()."""

    kind = ErrorKind.CLOSED

    def __init__(self, storage: str) -> None:
        super().__init__(f"the {storage} storage is closed")
        self.storage = storage


class RegistrationKeyExists(StorageError, ValueError):
    """A storage holds a handle of this key already. Carries `key`; the new handle is not kept."""

    kind = ErrorKind.WRONG_STATE

    def __init__(self, key: str) -> None:
        super().__init__(f"a handle is registered under {key!r}; it stays until close()")
        self.key = key


class HandleNotFound(StorageError, LookupError):
    """A storage has no handle of this key. Carries `key`."""

    kind = ErrorKind.NOT_FOUND

    def __init__(self, key: str) -> None:
        super().__init__(f"no handle is registered under {key!r}; ask is_registered() first")
        self.key = key


class OperationFailed(StorageError, RuntimeError):
    """An operation on a storage did not do what it was asked to do."""


class OutOfBounds(OperationFailed, IndexError):
    """A range of bytes is not inside its storage. Nothing was touched."""

    kind = ErrorKind.INVALID

    def __init__(self, operation: str, offset: int, size: int, limit: int) -> None:
        super().__init__(
            f"{operation} of {size} bytes at {offset} does not fit the {limit} bytes of the storage"
        )
        self.offset = offset
        self.size = size
        self.limit = limit


class DiskIoFailed(OperationFailed, OSError):
    """The disk moved fewer bytes than it was asked to, or none. Also carries `errno`.

    What is in the range now, in the file or in the buffers, is unknown: treat it as lost.
    """

    def __init__(self, code: int, operation: str, offset: int, wanted: int, moved: int) -> None:
        text = f"{operation} at {offset} moved {moved} of {wanted} bytes: {os.strerror(code)}"
        OSError.__init__(self, code, text)  # sets errno; RuntimeError, which comes first, does not
        self.offset = offset
        self.wanted = wanted
        self.moved = moved


class DiskIoTimeout(OperationFailed, TimeoutError):
    """The disk did not answer in time. Its buffers stay in use until the call returns."""

    kind = ErrorKind.CANCELLED


# ── layouts ───────────────────────────────────────────────────────────────────────────────


class LayoutError(KvbmError):
    """A question about a layout has no answer."""


class InvalidBlockIndex(LayoutError, IndexError):
    """There is no such block. Carries `index` and `count`."""

    def __init__(self, index: object, count: int) -> None:
        super().__init__(f"block index {index!r} is outside 0 … {count - 1}")
        self.index = index
        self.count = count


class InvalidLayerIndex(LayoutError, IndexError):
    """There is no such layer. Carries `index` and `count`."""

    def __init__(self, index: object, count: int) -> None:
        super().__init__(f"layer index {index!r} is outside 0 … {count - 1}")
        self.index = index
        self.count = count


class InvalidOuterIndex(LayoutError, IndexError):
    """There is no such outer index. Carries `index` and `count`."""

    def __init__(self, index: object, count: int) -> None:
        super().__init__(f"outer index {index!r} is outside 0 … {count - 1}")
        self.index = index
        self.count = count


class NotContiguous(LayoutError, BufferError):
    """Something was asked for as one piece that does not lie in one piece."""

    kind = ErrorKind.UNSUPPORTED


class AxesNotAvailable(LayoutError, TypeError):
    """The layout has no labelled axes, because its regions are not evenly spaced."""

    kind = ErrorKind.UNSUPPORTED

    def __init__(self, layout: str) -> None:
        super().__init__(f"a {layout} layout has no labelled axes; use offsets()")


class InvalidDescriptor(LayoutError, ValueError):
    """A serialised layout cannot be read."""


class LayoutMismatch(LayoutError, ValueError):
    """Two layouts that must be equal are not. Carries `field`, `ours` and `theirs`."""

    def __init__(self, field: str, ours: object, theirs: object) -> None:
        super().__init__(f"layouts differ in {field}: {ours!r} here, {theirs!r} there")
        self.field = field
        self.ours = ours
        self.theirs = theirs


# ── transfers ─────────────────────────────────────────────────────────────────────────────


class TransferError(KvbmError):
    """A transfer was refused before the first byte moved, or failed."""


class CountMismatch(TransferError, ValueError):
    """There are not as many targets as sources. Carries `sources` and `targets`."""

    def __init__(self, sources: int, targets: int) -> None:
        super().__init__(f"{sources} source blocks, but {targets} target blocks")
        self.sources = sources
        self.targets = targets


class BlockOutOfRange(TransferError, IndexError):
    """A transfer names a block that is not there. Carries `side`, `block_id` and `count`."""

    def __init__(self, side: str, block_id: object, count: int) -> None:
        super().__init__(f"{side} block {block_id!r} is outside 0 … {count - 1}")
        self.side = side
        self.block_id = block_id
        self.count = count


class DuplicateDestinationBlocks(TransferError, ValueError):
    """Two blocks of one transfer have the same target. Carries `duplicates`."""

    def __init__(self, duplicates: list[int]) -> None:
        super().__init__(f"target blocks {duplicates} are named more than once")
        self.duplicates = duplicates


class OverlappingBlocks(TransferError, ValueError):
    """Blocks are source and target of one transfer at once. Carries `blocks`."""

    def __init__(self, blocks: list[int]) -> None:
        super().__init__(f"blocks {blocks} are source and target in the same memory")
        self.blocks = blocks


class InvalidRange(TransferError, ValueError):
    """A part of an axis that is to be moved does not exist. Carries `axis`."""

    def __init__(self, axis: str, reason: str) -> None:
        super().__init__(f"range of axis {axis}: {reason}")
        self.axis = axis


class IncompatibleTypes(TransferError, TypeError):
    """The two sides of a transfer differ where they must not. Carries `field`."""

    def __init__(self, field: str, source: object, target: object) -> None:
        super().__init__(f"{field} is {source!r} in the source and {target!r} in the target")
        self.field = field
        self.source = source
        self.target = target


class UnsupportedTransfer(IncompatibleTypes):
    """There is no way from this kind of memory to that one."""

    kind = ErrorKind.UNSUPPORTED

    def __init__(self, source: object, target: object, reason: str) -> None:
        TransferError.__init__(self, f"{source} to {target}: {reason}")
        self.field = "storage"
        self.source = source
        self.target = target


class TransferFailed(TransferError, RuntimeError):
    """A copy did not do what it was asked to do. Carries `failed`; its cause says why.

    `failed` are the positions, in the lists of the call, of the pairs whose target must not
    be used. What these targets hold is unknown.
    """

    kind = ErrorKind.FAILED

    def __init__(self, transfer: str, failed: tuple[int, ...], pairs: int, reason: object) -> None:
        super().__init__(f"{transfer}: {len(failed)} of {pairs} blocks failed: {reason}")
        self.failed = failed


class CorruptBlock(TransferFailed, ValueError):
    """The bytes that arrived are not those that were sent, or that were once stored."""

    kind = ErrorKind.CORRUPT


class TransferCancelled(TransferError, CancelledError):
    """A copy was cancelled before it began. No byte moved."""

    kind = ErrorKind.CANCELLED

    def __init__(self, transfer: str) -> None:
        super().__init__(f"{transfer} was cancelled before it began")


class TransfersAbandoned(TransferError, TimeoutError):
    """Copies did not end in time. They keep their memory until they do."""

    kind = ErrorKind.CANCELLED

    def __init__(self, left: list[str]) -> None:
        super().__init__(f"closed the transfer engine and abandoned {'; '.join(left)}")
        self.left = left


class TransferEngineClosed(TransferError, RuntimeError):
    """The transfer engine is closed."""

    kind = ErrorKind.CLOSED

    def __init__(self) -> None:
        super().__init__("the transfer engine is closed")


# ── traces ────────────────────────────────────────────────────────────────────────────────


class TraceError(KvbmError, ValueError):
    """A line of a trace file cannot be used. Carries `path`, `line` (from 1) and `reason`."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
