"""What a block consists of when it is hashed: bytes of tokens, bytes of media.

What this is
    `Windows` cuts an array of tokens into the pieces that are hashed. `BlockContent` is
    one such piece as bytes, the same on every machine.

Interface, as rules of use
    * A window has as many tokens as a block, or one more with `is_eagle`: a draft model
      of the EAGLE family reads each token beside its successor, so that its KV depends
      on one token more.
    * A window that is not full does not exist.

Clauses: KV-IDN-01, KV-IDN-02
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

from kvbm.identity.tokens import TokenArray


class BlockContent(NamedTuple):
    """The bytes that one block hash covers."""

    block_size: int
    """Tokens per block."""

    tokens: bytes
    """Tokens, four bytes each, little end first. Empty where `media` frames every token."""

    media: bytes = b""
    """What `multimodal` made of the images and sounds in the block. Empty without any."""


@final
@dataclass(frozen=True, slots=True)
class Windows:
    """The pieces of a token array that are hashed, one for each full block.

    Examples
    --------
    >>> from kvbm.identity.tokens import as_tokens
    >>> len(Windows(as_tokens(range(12)), 4)), len(Windows(as_tokens(range(12)), 4, is_eagle=True))
    (3, 2)
    """

    tokens: TokenArray
    """uint32[tokens], all of them."""

    block_size: int
    """Tokens from the start of one window to that of the next."""

    is_eagle: bool = False
    """Whether a window also covers the first token after its block."""

    @property
    def width(self) -> int:
        """Tokens in one window."""
        return self.block_size + self.is_eagle

    def __len__(self) -> int:
        return max(0, (self.tokens.size - self.is_eagle) // self.block_size)

    def content(self, index: int) -> BlockContent:
        """Give window `index` as bytes. O(width)."""
        start = index * self.block_size
        return plain_content(self.tokens[start : start + self.width], self.block_size)


def plain_content(tokens: TokenArray, block_size: int) -> BlockContent:
    """Give the content of a block that holds only tokens. O(tokens)."""
    return BlockContent(block_size, tokens.astype("<u4").tobytes())
