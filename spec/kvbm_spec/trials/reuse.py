"""Reuse: how much of a prompt a hit saves, for every length around the block boundaries.

What this is
    Who reuses the KV of a whole prompt has nothing left to compute, and so no logits. A
    subject declares what it leaves out then; everything else is counted in full blocks.

Clauses: KV-REG-08
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvbm_spec.identity import Hashing, Reusing
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.asking import Question, ask
from kvbm_spec.trials.steps import open_pool, publish_chain, release_all

USABLE: Final = "KV-REG-08"

SIZE: Final = 4
LEFT_OUT: Final = {"n": 0, "n-1": 1, "last block": SIZE}
"""Tokens of a full hit that are computed again, by rule."""


def a_hit_saves_what_the_rule_says(script: Script) -> None:
    """Publish the first blocks of a prompt, all numbers of them, and cut it everywhere."""
    subject: Any = script.subject
    assert isinstance(subject, Reusing), "asked only of subjects that tell what a hit saves"
    assert isinstance(subject, Hashing), "there is no prompt without its keys"
    rule = subject.full_hit
    script.expect(USABLE, rule in LEFT_OUT, f"{rule!r} is no rule; there are {[*LEFT_OUT]}")
    tokens = tuple(range(1, 3 * SIZE + 2))
    keys = ask(script, Question(tokens, block_size=SIZE))
    for known in range(len(keys) + 1):
        pool = open_pool(script, slots=4, own_keys=True)
        release_all(script, pool, publish_chain(script, pool, keys[:known]))
        for length in range(1, len(tokens) + 1):
            text = f"usable_tokens(the first {length}), {known} blocks are registered"
            got = script.call(text, subject.usable_tokens, pool, tokens[:length], SIZE)
            saved = min(known, length // SIZE) * SIZE
            if saved == length:
                saved -= LEFT_OUT[rule]
                script.reached("a full hit")
            what = f"{text}: {got}, and by the rule {rule!r} it is {saved}"
            script.expect(USABLE, got == saved, what)
        script.call("close()", pool.close)
    script.reached("a partial hit")


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("what a hit saves", (USABLE,), "rule for full hits", a_hit_saves_what_the_rule_says),
)

CHECKS: Final[Mapping[str, Check]] = {
    USABLE: Check(("a full hit", "a partial hit"), "rule for full hits")
}
