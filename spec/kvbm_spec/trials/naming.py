"""Naming: what the key of a block depends on, and what it does not.

What this is
    Small changes to one prompt, all of them: each token, each boundary, each field. What a
    change may reach must get another key, and what it may not must keep its own.

Clauses: KV-IDN-01, KV-IDN-03
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Final

from kvbm_spec.identity import Identity, Media
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.asking import (
    NAMED,
    PLAIN,
    TOKENS,
    Question,
    apart,
    ask,
    has_field,
    hasher,
    texts,
)

CHANGED: Final = "KV-IDN-03"

BITS: Final = (0, 8, 16, 31)
"""Bits of a token that are turned: a hash may have lost the high ones."""

VALUES: Final = ("a", "b", "A", "aa", "a ", " a", "a\0", "0", "1", "é", "e\u0301", "x" * 300)
"""Texts that somebody may take for one another."""

PICTURES: Final = (
    (Media(7, 0, 2),),
    (Media(8, 0, 2),),
    (Media(7, 1, 2),),
    (Media(7, 0, 3),),
    (Media(7, 0, 1), Media(7, 1, 1)),
    (Media(7, 0, 1), Media(8, 1, 1)),
    (Media(8, 0, 1), Media(7, 1, 1)),
    (Media(0, 0, 2),),
)
"""Media in the first block: other content, place, length, number and order."""


def equal_questions_have_equal_answers(script: Script) -> None:
    """Ask much, and ask it all again in another order."""
    strange = [name for name in hasher(script).identity_fields() if name not in PLAIN.__slots__]
    script.expect(NAMED, not strange, f"there are no fields {strange}")
    questions = [Question(), Question(TOKENS[:8]), Question((0,) * 12), *_of_each_field(script)]
    first = [ask(script, question) for question in questions]
    for question, before in reversed([*zip(questions, first, strict=True)]):
        again = ask(script, question)
        script.expect(NAMED, again == before, f"{question} gave {before}, and then {again}")
    script.reached("asked again")


def a_key_knows_what_came_before_and_nothing_after(script: Script) -> None:
    """Cut a prompt everywhere, and turn bits of each of its tokens."""
    whole = ask(script, Question())
    for length in range(len(TOKENS)):
        cut = Question(TOKENS[:length])
        what = f"{cut} is no prefix of the keys of the longer prompt"
        script.expect(NAMED, ask(script, cut) == whole[: length // 4], what)
    seen = [{key} for key in whole]
    for place in range(len(TOKENS)):
        for bit in BITS:
            turned = list(TOKENS)
            turned[place] ^= 1 << bit
            question = Question(tuple(turned))
            for block, key in enumerate(ask(script, question)):
                if block < place // 4:
                    what = f"{question}: the key of block {block} knows a token after it"
                    script.expect(NAMED, key == whole[block], what)
                else:
                    what = f"{question}: block {block} has the key of a prompt with other tokens"
                    script.expect(NAMED, key not in seen[block], what)
                    seen[block].add(key)
    script.reached("a token changed")


def a_prompt_goes_on_from_its_parent(script: Script) -> None:
    """Name the rest of a prompt from the key of the block before."""
    if not has_field(script, "parent"):
        return
    whole = ask(script, Question())
    rest = Question(TOKENS[4:], Identity(parent=whole[0]))
    what = f"{rest} does not go on as the whole prompt does"
    script.expect(NAMED, ask(script, rest) == whole[1:], what)
    others = [ask(script, Question((9, 9, 9, token)))[0] for token in range(8)]
    parents = [None, *whole, *others]
    apart(script, CHANGED, [Question(TOKENS[:4], Identity(parent=key)) for key in parents])


def order_and_boundary_change_the_key(script: Script) -> None:
    """Exchange tokens and whole blocks, and cut the same tokens into other blocks."""
    orders = [TOKENS]
    for one, other in combinations(range(len(TOKENS)), 2):
        tokens = list(TOKENS)
        tokens[one], tokens[other] = tokens[other], tokens[one]
        orders.append(tuple(tokens))
    blocks = [TOKENS[start : start + 4] for start in (0, 4, 8)]
    mixed = ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (0, 0, 2), (1, 1, 2), (0, 1, 1))
    orders += [tuple(token for index in order for token in blocks[index]) for order in mixed]
    apart(script, CHANGED, [Question(order) for order in orders])
    script.reached("another order")
    apart(script, CHANGED, [Question(block_size=size) for size in (1, 2, 3, 4, 6, 12)])
    apart(script, CHANGED, [Question((0,) * size, block_size=size) for size in range(1, 9)])
    script.reached("another boundary")


def every_field_changes_every_key(script: Script) -> None:
    """Give each field many values: no two name a block the same, wherever it stands."""
    questions = [Question(), *_of_each_field(script)]
    for blocks in (1, 2, 3):
        apart(script, CHANGED, [replace(each, tokens=TOKENS[: 4 * blocks]) for each in questions])
    later = [Question(identity=Identity(media=(Media(7, start, 2),))) for start in (4, 5, 8, 9)]
    if has_field(script, "media"):
        apart(script, CHANGED, [Question(), *later])
        for question in later:
            what = f"{question}: the key of block 0 knows an image after it"
            script.expect(NAMED, ask(script, question)[0] == ask(script, Question())[0], what)
    script.reached("a field changed")


def _of_each_field(script: Script) -> Iterator[Question]:
    """Give questions in which one field has a value."""
    for name in texts(script):
        for value in VALUES:
            yield Question(identity=PLAIN.having(**{name: value}))
    if has_field(script, "media"):
        for media in PICTURES:
            yield Question(identity=Identity(media=media))


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("equal questions", (NAMED,), "hashing", equal_questions_have_equal_answers),
    Scene("before and after", (NAMED,), "hashing", a_key_knows_what_came_before_and_nothing_after),
    Scene("from the parent", (NAMED, CHANGED), "hashing", a_prompt_goes_on_from_its_parent),
    Scene("order and boundary", (CHANGED, NAMED), "hashing", order_and_boundary_change_the_key),
    Scene("every field", (CHANGED, NAMED), "hashing", every_field_changes_every_key),
)

CHECKS: Final[Mapping[str, Check]] = {
    NAMED: Check(("asked again", "a token changed"), "hashing"),
    CHANGED: Check(("another order", "another boundary", "a field changed"), "hashing"),
}
