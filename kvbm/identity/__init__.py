"""Identity: tokens, token blocks, salts and the hashes that name them.

What this is
    The room that answers which blocks are the same. It knows nothing of memory.

    Read `content`, then `reference` (what is hashed), `salt`, `schemes`, `token_block`
    and `sequence`. `xxh3` is the fast twin of `reference`; `lineage`, `sha256` and
    `multimodal` can wait until they are needed.

Interface, as rules of use
    * Import from here; the modules are for reading.
    * `sequence_hashes(tokens, block_size)` gives the keys of a prompt's blocks.
    * `TokenBlockSequence` keeps them while a request grows.

Clauses: KV-IDN-01, KV-IDN-02, KV-IDN-03, KV-IDN-04, KV-IDN-05, KV-IDN-08
"""

from kvbm.identity.content import BlockContent, Windows
from kvbm.identity.hashing import block_hashes, sequence_hashes
from kvbm.identity.lineage import PositionalLineageHash, PositionalSequenceHash
from kvbm.identity.multimodal import MultimodalRun
from kvbm.identity.reference import HashScheme
from kvbm.identity.salt import SaltHash
from kvbm.identity.schemes import scheme
from kvbm.identity.sequence import TokenBlocks, TokenBlockSequence
from kvbm.identity.token_block import PartialTokenBlock, TokenBlock
from kvbm.identity.tokens import Tokens

__all__ = [
    "BlockContent",
    "HashScheme",
    "MultimodalRun",
    "PartialTokenBlock",
    "PositionalLineageHash",
    "PositionalSequenceHash",
    "SaltHash",
    "TokenBlock",
    "TokenBlockSequence",
    "TokenBlocks",
    "Tokens",
    "Windows",
    "block_hashes",
    "scheme",
    "sequence_hashes",
]
