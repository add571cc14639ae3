"""Images, sounds and videos in a prompt: how they enter the hashes.

What this is
    A multimodal model puts placeholder tokens where the media stand, the same ones for
    every image. A hash over tokens alone would give one image the KV of another, so the
    hash of the media goes in too. There are two forms:

    Objects (Dynamo's router). Each block has the hashes of the objects that it touches.
        They are sorted and follow the tokens. Where in the block they stand, and which
        part of them, is not told.
    Runs (KVBM v2). Each object is a run of placeholders, with offset and length. Every
        slot of a block that a run touches becomes a frame of 13 bytes:

            token          00   token as u32                  0 as u64
            placeholder    01   position in its run as u32    hash of the object as u64

        all little end first. The token under a placeholder is ignored.

Interface, as rules of use
    * A block without media is hashed in the plain way, in either form.
    * Never mix the forms in one cache: their hashes differ.
    * `hashing.block_hashes` takes objects, `TokenBlockSequence` takes runs.

Clauses: KV-IDN-03, KV-IDN-08
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from kvbm.errors import IdentityError, InvalidMultimodalRun
from kvbm.identity.content import BlockContent, Windows, plain_content
from kvbm.identity.tokens import TokenArray, exact_integer

BlockObjects: TypeAlias = "Sequence[Iterable[int] | None]"
"""For each block the hashes of its objects, or None. Missing at the end means none."""

FRAME = struct.Struct("<BIQ")
TOKEN_FRAME, PLACEHOLDER_FRAME = 0, 1


class MultimodalRun(NamedTuple):
    """One object in a sequence: where its placeholders stand.

    Examples
    --------
    >>> MultimodalRun(object_hash=0xABCD, offset=3, length=3).end
    6
    """

    object_hash: int
    """Hash of the object, 64 bits."""

    offset: int
    """Index of its first placeholder in the whole sequence, in tokens."""

    length: int
    """Number of its placeholders, in tokens."""

    @property
    def end(self) -> int:
        """Index of the first token after it."""
        return self.offset + self.length


def object_contents(windows: Windows, objects: BlockObjects | None) -> dict[int, BlockContent]:
    """Find the blocks that hold objects, and what is hashed for them.

    Parameters
    ----------
    windows
        The tokens, cut.
    objects
        Hashes of the objects, per block. Entries past the last block are ignored, since
        the block that they are about is not full yet.

    Returns
    -------
    dict
        Content by block index, ascending.

    Raises
    ------
    IdentityError
        An object hash is no integer of 64 bits. The error names block and index.

    Clauses: KV-IDN-03
    """
    contents: dict[int, BlockContent] = {}
    for block, entry in enumerate(objects or ()):
        hashes = sorted(_checked_hashes(block, entry or ()))
        if hashes and block < len(windows):
            media = struct.pack(f"<{len(hashes)}Q", *hashes)
            contents[block] = windows.content(block)._replace(media=media)
    return contents


def _checked_hashes(block: int, hashes: Iterable[int]) -> list[int]:
    checked = []
    for index, value in enumerate(hashes):
        number = exact_integer(value)
        if number is None or not 0 <= number < 2**64:
            raise IdentityError(f"mm[{block}][{index}] = {value!r}: must be in 0 … 2**64 - 1")
        checked.append(number)
    return checked


def checked_runs(runs: Iterable[MultimodalRun], start: int, end: int) -> list[MultimodalRun]:
    """Sort runs by offset and check them.

    Parameters
    ----------
    runs
        The runs, in any order.
    start, end
        They must lie in the tokens `start` … `end - 1`.

    Raises
    ------
    InvalidMultimodalRun
        A run is empty, leaves the tokens or overlaps another one, or its hash has more
        than 64 bits.
    """
    ordered = sorted((MultimodalRun(*run) for run in runs), key=attrgetter("offset"))
    free = start
    for run in ordered:
        if run.length < 1:
            raise InvalidMultimodalRun(run.offset, f"its length is {run.length}")
        if not 0 <= run.object_hash < 2**64:
            raise InvalidMultimodalRun(run.offset, f"its hash {run.object_hash} has no 64 bits")
        if run.offset < free:
            what = "overlaps the run before it" if free > start else "starts before the new tokens"
            raise InvalidMultimodalRun(run.offset, f"{what}; the next free token is {free}")
        if run.end > end:
            raise InvalidMultimodalRun(run.offset, f"ends at {run.end}, past the {end} tokens")
        free = run.end
    return ordered


def run_contents(
    windows: Windows, first_token: int, runs: Sequence[MultimodalRun]
) -> Mapping[int, BlockContent]:
    """Find the blocks that runs touch, and what is hashed for them.

    Parameters
    ----------
    windows
        The tokens, cut; not for eagle, which has no such form.
    first_token
        Index in the whole sequence of the first token of `windows`.
    runs
        Checked runs, by ascending offset.

    Returns
    -------
    dict
        Content by index of the window, ascending.

    Clauses: KV-IDN-03
    """
    size = windows.block_size
    contents: dict[int, BlockContent] = {}
    for run in runs:
        first = max(0, (run.offset - first_token) // size)
        last = min(len(windows) - 1, (run.end - 1 - first_token) // size)
        for index in range(first, last + 1):
            tokens = windows.tokens[index * size : (index + 1) * size]
            contents[index] = run_content(tokens, first_token + index * size, runs)
    return contents


def run_content(
    tokens: TokenArray, first_token: int, runs: Sequence[MultimodalRun]
) -> BlockContent:
    """Give the content of one block: frames if a run touches it, else plain tokens."""
    end = first_token + tokens.size
    touching = [run for run in runs if run.offset < end and run.end > first_token]
    if not touching:
        return plain_content(tokens, tokens.size)
    frames = [FRAME.pack(TOKEN_FRAME, token, 0) for token in tokens.tolist()]
    for run in touching:
        for slot in range(max(run.offset, first_token), min(run.end, end)):
            frame = FRAME.pack(PLACEHOLDER_FRAME, slot - run.offset, run.object_hash)
            frames[slot - first_token] = frame
    return BlockContent(tokens.size, b"", b"".join(frames))
