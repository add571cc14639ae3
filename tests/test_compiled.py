from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

STORY = """
    from kvbm.identity import sequence_hashes
    from kvbm.pool import BlockPool
    pool = BlockPool(4, page_size=4, policy="{policy}")
    for names in ([1, 2, 3], [1, 2, 9], [7, 8, 2**64 - 1]):
        with pool.match_sequence_hashes(names) as hits:
            blocks = pool.allocate_blocks(min(3, 4) - len(hits))
            parent = names[len(hits) - 1] if len(hits) else None
            blocks.stage(names[len(hits):], parent=parent, position=len(hits))
            with pool.register_blocks(blocks):
                print(hits.block_ids, pool)
    print(pool.eviction_order(), pool.statistics(), sequence_hashes(range(40), 4).tolist())
"""


def tell(policy: str, *, interpreted: bool) -> str:
    environment = os.environ | {"NUMBA_DISABLE_JIT": str(int(interpreted)), "KVBM_CHECK": "1"}
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", dedent(STORY.format(policy=policy))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_can_be_interpreted_and_does_the_same() -> None:
    for policy in ("priority", "multi-lru"):
        assert tell(policy, interpreted=True) == tell(policy, interpreted=False)
