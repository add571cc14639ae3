"""Trials of identity, isolation and fills pass what is right, and fail each way to break it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from broken_hashes import BROKEN, MIX, digesting, each, first, ignoring
from kvbm_spec import abilities, elsewhere, replayed
from kvbm_spec.explore import Findings
from kvbm_spec.identity import Identity
from kvbm_spec.process import AdapterError, ProcessSubject
from kvbm_spec.run import _Judge
from kvbm_spec.status import Status
from kvbm_spec.subject import PoolConfig, Subject, SubjectError
from kvbm_spec.trials import TRIAL_CHECKS, TRIALS
from list_pool import ListPool, ListSubject
from toy_hash import (
    FailsElsewhere,
    Toy,
)

from kvbm.cli.subject import KvbmSubject
from kvbm.cli.subject.hashing import OneScheme

HASHING = ("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
TENANTS = ("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04")
CLAUSES = (*HASHING, "KV-IDN-06", "KV-IDN-07", *TENANTS, "KV-REG-08", "KV-LIF-03", "KV-INT-06")


def tried(subject: Subject, *about: str, effort: str = "smoke") -> Findings:
    """Run the trials that can break one of these clauses and that the subject is able to."""
    findings = Findings()
    for trial in TRIALS:
        if {*about} & {*trial.clauses} and abilities.has(subject, trial.ability, CONFIG):
            findings.merge(trial.run(subject, effort))
    return findings


def status(subject: Subject, clause: str) -> Status:
    """Judge one clause by its trials alone."""
    return _Judge(subject, tried(subject, clause), blocked=False)(clause).status


CONFIG = PoolConfig(slots=2)

ADAPTER = Path(__file__).parents[2] / "spec" / "examples" / "adapter.py"


# ── what is right ─────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
@pytest.mark.clause("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04")
@pytest.mark.parametrize("clause", [*HASHING, *TENANTS])
def test_a_hash_of_ten_lines_passes(clause: str) -> None:
    assert status(Toy(), clause) is Status.PASS


@pytest.mark.clause("KV-IDN-05")
def test_a_hash_of_ten_lines_has_no_birthday_among_many_blocks() -> None:
    assert not tried(Toy(), "KV-IDN-05", effort="ci").failures


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
@pytest.mark.clause("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04", "KV-IDN-06")
@pytest.mark.clause("KV-LIF-03", "KV-LIF-08", "KV-INT-06")
def test_our_own_pool_passes_with_scheme_sha256() -> None:
    findings = tried(KvbmSubject(), *CLAUSES, "KV-LIF-08")
    assert not findings.failures
    judge = _Judge(KvbmSubject(), findings, blocked=False)
    passed = {clause for clause in CLAUSES if judge(clause).status is Status.PASS}
    assert passed == {*CLAUSES} - {"KV-IDN-07", "KV-REG-08"}


class Dynamo(KvbmSubject):
    scheme = "dynamo"


class DynamoV1(KvbmSubject):
    scheme = "dynamo-v1"


class Lineage(KvbmSubject):
    scheme = "lineage"


@pytest.mark.parametrize("subject", [Dynamo, DynamoV1, Lineage])
def test_the_schemes_of_dynamo_keep_their_vectors_and_are_no_strong_hashes(
    subject: type[KvbmSubject],
) -> None:
    findings = tried(subject(), *CLAUSES, "KV-LIF-08")
    assert findings.situations["a vector"]
    assert findings.failures.keys() == {"KV-IDN-04", "KV-IDN-05"}
    assert "963445745" in str(tried(Dynamo(), "KV-IDN-05").failures["KV-IDN-05"].verdict)


def test_a_subject_without_the_ability_is_skipped_and_told_why() -> None:
    judge = _Judge(ListSubject(), Findings(), blocked=False)
    for clause in CLAUSES:
        result = judge(clause)
        assert result.status is Status.SKIP
        assert result.reason == f"the subject has no {TRIAL_CHECKS[clause].ability}"


def test_a_clause_whose_situation_was_not_met_is_vacuous() -> None:
    class Local(Toy):  # cannot be made in another process
        pass

    judge = _Judge(Local(), tried(Local(), "KV-IDN-02"), blocked=False)
    assert judge("KV-IDN-02").status is Status.VACUOUS
    assert judge("KV-IDN-03").status is Status.VACUOUS


def test_a_subject_without_salts_is_not_asked_about_tenants() -> None:
    class Plain(ListSubject):
        identity_fields = staticmethod(tuple)
        hash_root, block_keys = Toy.hash_root, Toy.block_keys
        blocks, media, name_of, digest = Toy.blocks, Toy.media, Toy.name_of, Toy.digest

    assert status(Plain(), "KV-IDN-03") is Status.PASS
    assert status(Plain(), "KV-ISO-01") is Status.SKIP


# ── broken hashes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("clause", "broken"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_every_broken_hash_fails_the_clause_that_it_is_about(
    clause: str, broken: type[Toy]
) -> None:
    failure = tried(broken(), clause).failures[clause]
    assert " raised " not in failure.verdict.what


@pytest.mark.clause("KV-IDN-05")
def test_32_bits_that_are_spread_over_64_are_found_by_their_birthday_alone() -> None:
    spread = digesting(lambda data: first(data, 4) * MIX % 2**64)()
    assert "KV-IDN-05" not in tried(spread, "KV-IDN-05").failures
    failure = tried(spread, "KV-IDN-05", effort="ci").failures["KV-IDN-05"]
    again = replayed.play(spread, replayed.write(failure), "again")
    assert again is not None
    assert again.verdict == failure.verdict
    assert replayed.play(Toy(), replayed.write(failure), "again") is None


def test_a_failure_shows_both_questions() -> None:
    failure = tried(ignoring("salt")(), "KV-IDN-03").failures["KV-IDN-03"]
    assert [str(line).startswith("keys([1, 2, 3, 4], size 4") for line in failure.steps[:2]]
    assert "salt='a'" in failure.verdict.what


def test_a_crash_is_told_with_its_question() -> None:
    failure = tried(each(lambda text: text.encode("ascii"))(), "KV-IDN-03").failures["KV-IDN-03"]
    assert "salt='é'" in failure.verdict.what
    assert "UnicodeEncodeError" in failure.verdict.what


# ── another process, roots ────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-IDN-02")
def test_a_subject_that_fails_in_another_process_has_no_keys_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KVBM_TOY_HOME", "elsewhere")
    failure = tried(FailsElsewhere(), "KV-IDN-02").failures["KV-IDN-02"]
    assert "no such root" in failure.verdict.what


@pytest.mark.parametrize("name", ["no_such_module:X", "json:Nothing", "json:dumps", "__main__:X"])
def test_what_cannot_be_made_in_another_process_has_no_answer(name: str) -> None:
    assert elsewhere.answers_elsewhere(name, hash_seed="0") is None


@pytest.mark.clause("KV-IDN-02")
def test_a_scheme_in_print_is_held_to_its_vectors() -> None:
    class Claims(Toy):
        def hash_root(self) -> str:
            return "dynamo:1337"

    assert "scheme dynamo gives" in str(tried(Claims(), "KV-IDN-02").failures["KV-IDN-02"].verdict)


PROGRAM = """
            elif operation == "block_keys":
                answer["ok"] = block_keys(**arguments)
            elif operation == "open":"""
KEYS = """
import hashlib, os
ROOT = %s
def block_keys(tokens, block_size, parent, salt):
    keys = [parent]
    for start in range(0, len(tokens) - block_size + 1, block_size):
        block = [ROOT, keys[-1], tokens[start : start + block_size], salt]
        digest = hashlib.sha256(json.dumps(block).encode()).digest()
        keys.append(int.from_bytes(digest[:8], "big"))
    return keys[1:]
HELLO["capabilities"]["hashing"] = %s

if __name__ == "__main__":"""
GOOD = {"root": "toy:0", "fields": ["salt"], "tenants": ["salt"]}
Start = Callable[..., ProcessSubject]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the example of an adapter, with a hash of its own."""
    with ExitStack() as started:

        def program(root: str = "0", declared: object = GOOD) -> ProcessSubject:
            text = ADAPTER.read_text("utf-8")
            text = text.replace('\n            elif operation == "open":', PROGRAM)
            text = text.replace('\nif __name__ == "__main__":', KEYS % (root, declared))
            (tmp_path / "program.py").write_text(text, "utf-8")
            subject = ProcessSubject([sys.executable, "-S", str(tmp_path / "program.py")])
            return started.enter_context(subject)

        yield program


def test_a_program_that_names_blocks_is_asked_over_its_pipe(start: Start) -> None:
    subject = start()
    findings = tried(subject, *CLAUSES)
    assert not findings.failures
    judge = _Judge(subject, findings, blocked=False)
    passed = {clause for clause in CLAUSES if judge(clause).status is Status.PASS}
    assert passed == {*HASHING, *TENANTS}


def test_a_program_with_a_root_for_each_process_is_started_twice_and_found(start: Start) -> None:
    assert "KV-IDN-02" in tried(start("os.getpid()"), "KV-IDN-02").failures


def test_a_program_has_as_much_of_a_hash_as_it_declares(start: Start) -> None:
    no_tenants = start(declared={"root": "toy:0", "fields": []})
    assert abilities.has(no_tenants, "hashing", CONFIG)
    assert not abilities.has(no_tenants, "tenants", CONFIG)
    assert not abilities.has(start(declared=None), "hashing", CONFIG)


@pytest.mark.parametrize(
    "declared",
    [{"root": "toy:0"}, {"fields": []}, {"root": "", "fields": ["taste"]}, "yes",
     {"root": "", "fields": [], "tenants": "salt"}],
)  # fmt: skip
def test_a_declaration_of_another_form_is_no_hash(start: Start, declared: object) -> None:
    with pytest.raises(AdapterError, match="hashing has a root, and fields"):
        start(declared=repr(declared) if isinstance(declared, str) else declared)


class Shares(Toy):
    def share(self, hash_root: str) -> None:
        if hash_root != self.hash_root():
            raise SubjectError("Unsupported")


class SharesWithAll(Toy):
    def share(self, hash_root: str) -> None:
        del hash_root


class SharesWithTheScheme(Shares):
    def share(self, hash_root: str) -> None:
        super().share(hash_root if not hash_root.startswith("toy") else self.hash_root())


class SharesWithNobody(Toy):
    def share(self, hash_root: str) -> None:
        raise SubjectError("Unsupported", hash_root)


class TellsNoScheme(Shares):
    def hash_root(self) -> str:
        return "0"


@pytest.mark.clause("KV-IDN-07")
def test_a_root_is_told_and_others_are_refused() -> None:
    assert status(Shares(), "KV-IDN-07") is Status.PASS
    for broken in (SharesWithAll, SharesWithTheScheme, SharesWithNobody, TellsNoScheme):
        assert "KV-IDN-07" in tried(broken(), "KV-IDN-07").failures


# ── a weak hash, and full hits ────────────────────────────────────────────────────────────


class Compares:
    """One key for all; the first block stays."""

    def __init__(self) -> None:
        self.held: list[tuple[int, ...]] = []
        self.differed = 0

    def publish(self, tokens: Sequence[int]) -> None:
        self.held = self.held or [tuple(tokens)]

    def hits(self, tokens: Sequence[int]) -> int:
        self.differed += self.held not in ([], [tuple(tokens)])
        return int(tuple(tokens) in self.held)

    def collisions(self) -> int:
        return self.differed


class TrustsTheHash(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        return max(super().hits(tokens), len(self.held))


class ComparesTheFirstToken(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        super().hits(tokens)
        return sum(held[0] == tokens[0] for held in self.held)


class CountsNothing(Compares):
    def collisions(self) -> int:
        return 0


class NeverHits(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        super().hits(tokens)
        return 0


class KeepsBoth(Compares):
    def publish(self, tokens: Sequence[int]) -> None:
        self.held.append(tuple(tokens))


def colliding(pool: type[Compares]) -> ListSubject:
    class Weak(ListSubject):
        def open_colliding(self, config: PoolConfig) -> Compares:
            del config
            return pool()

    return Weak()


@pytest.mark.clause("KV-IDN-06")
def test_a_collision_must_be_a_counted_miss() -> None:
    assert status(colliding(Compares), "KV-IDN-06") is Status.PASS
    for broken in (TrustsTheHash, ComparesTheFirstToken, CountsNothing, NeverHits, KeepsBoth):
        assert status(colliding(broken), "KV-IDN-06") is Status.FAIL


class Saves(Toy):
    """Says how much a hit saves."""

    full_hit = "n"

    def usable_tokens(self, pool: ListPool, tokens: Sequence[int], block_size: int) -> int:
        hits = pool.match(self.block_keys(tokens, block_size, Identity()))
        for handle in reversed(hits):
            pool.release(handle)
        return self.saved(len(hits) * block_size, len(tokens))

    def saved(self, hit: int, length: int) -> int:
        del length
        return hit


class SavesAllButOne(Saves):
    full_hit = "n-1"

    def saved(self, hit: int, length: int) -> int:
        return min(hit, length - 1)


class SavesAllButABlock(Saves):
    full_hit = "last block"

    def saved(self, hit: int, length: int) -> int:
        return hit - 4 * (hit == length)


class LeavesNothingToCompute(SavesAllButOne):
    saved = Saves.saved


class AlwaysLeavesABlock(SavesAllButABlock):
    def saved(self, hit: int, length: int) -> int:
        return (length - 1) // 4 * 4 if hit else 0


class RoundsDown(SavesAllButOne):
    full_hit = "n-1"

    def saved(self, hit: int, length: int) -> int:
        return min(hit, (length - 1) // 4 * 4)


class HasNoRule(Saves):
    full_hit = "some"


@pytest.mark.clause("KV-REG-08")
def test_a_full_hit_must_save_what_the_declared_rule_says() -> None:
    for right in (Saves, SavesAllButOne, SavesAllButABlock):
        assert status(right(), "KV-REG-08") is Status.PASS
    for broken in (LeavesNothingToCompute, AlwaysLeavesABlock, RoundsDown, HasNoRule):
        assert status(broken(), "KV-REG-08") is Status.FAIL


class SaltedTwice(OneScheme):
    """Names blocks by the right scheme with the wrong salt."""

    def block_keys(self, tokens, block_size, identity):
        return super().block_keys(tokens, block_size, identity.having(salt="again"))


def test_every_scheme_that_a_subject_has_is_held_to_its_vectors() -> None:
    trial = next(trial for trial in TRIALS if trial.name == "vectors of all schemes")
    findings = trial.run(KvbmSubject(), "smoke")
    assert not findings.failures
    assert findings.situations["a vector"] >= 40
    for scheme in ("dynamo", "dynamo-v1", "lineage"):  # nobody else has our sha256

        class Wrong(KvbmSubject):
            def schemes(self):
                return super().schemes() | {scheme: SaltedTwice(scheme)}  # noqa: B023

        assert "KV-IDN-02" in trial.run(Wrong(), "smoke").failures
