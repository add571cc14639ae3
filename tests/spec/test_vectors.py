"""The vectors are what the model says, have one form, and find what they are about."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kvbm_spec import hashing, lookup, schema, shortest
from kvbm_spec import lifecycle as table
from kvbm_spec.operations import Op, Outcome
from kvbm_spec.process import ProcessSubject
from kvbm_spec.subject import Capabilities, PoolConfig
from kvbm_spec.vectors import Vector, load, main, policies_that_agree, predicted, read, run, write

from kvbm.cli.subject import KvbmSubject
from kvbm.identity import block_hashes, sequence_hashes

DATA = Path(__file__).parents[2] / "spec" / "kvbm_spec" / "data"
PROTOCOL = Path(__file__).parents[2] / "spec" / "protocol.md"
ADAPTER = Path(__file__).parents[2] / "spec" / "examples" / "adapter.py"

BUGS = [vector for vector in load() if vector.bugs]

HASHES = json.loads(hashing.FILE.read_text("utf-8"))["cases"]


# ── the files ─────────────────────────────────────────────────────────────────────────────


def test_shortest_histories_are_made_anew_byte_for_byte() -> None:
    made = {f"{vector.id}.json": write(vector) for vector in shortest.vectors()}
    files = (DATA / "vectors").glob("shortest/*.json")
    found = {f"shortest/{file.name}": file.read_text("utf-8") for file in files}
    assert found == made, "stale; run python -m kvbm_spec.shortest"
    assert len(made) > 100


def test_every_file_is_as_it_would_be_written_and_is_named_after_its_id() -> None:
    files = sorted((DATA / "vectors").glob("*/*.json"))
    assert len(files) == len(load())
    for file in files:
        text = file.read_text("utf-8")
        assert write(read(text)) == text, file.name
        assert read(text).id == f"{file.parent.name}/{file.stem}"


def test_all_data_together_stays_small() -> None:
    assert sum(file.stat().st_size for file in (DATA / "vectors").rglob("*")) < 180_000


def test_every_vector_says_what_the_model_says_and_under_which_orders() -> None:
    for vector in load():
        ops, outcomes = zip(*vector.steps, strict=True)
        settings = {"slots": vector.slots, "duplicates": vector.duplicates}
        assert predicted(ops, policy=vector.policies[0], **settings) == list(outcomes), vector.id
        assert policies_that_agree(vector) == vector.policies, vector.id


def test_every_clause_and_every_bug_that_a_vector_cites_exists_and_they_belong_together() -> None:
    for vector in load():
        assert all(lookup(clause) for clause in vector.clauses)
    for vector in BUGS:
        (bug,) = vector.bugs
        assert vector.id == f"bugs/{bug}"
        assert any(bug in lookup(clause).seen_as for clause in vector.clauses)


def test_these_rows_of_the_list_of_bugs_have_a_vector() -> None:
    assert [int(vector.bugs[0][4:]) for vector in BUGS] == [
        *(1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 18, 19, 42, 43, 53, 57, 59, 66)
    ]


@pytest.mark.clause("KV-LIF-01")
def test_together_they_exercise_every_row_that_the_calls_of_a_subject_can_reach() -> None:
    shown = set()
    for vector in load():
        config = PoolConfig(slots=vector.slots, duplicates=vector.duplicates)
        rows = shortest.rows(tuple(op for op, _ in vector.steps), config)
        shown |= {(row.operation, row.state, row.next) for row in rows}
    used = {op.name for vector in load() for op, _ in vector.steps}
    calls = set().union(*map(shortest.operations_of, used))
    wanted = {
        (row.operation, row.state, row.next)
        for row in table.load().transitions
        if row.operation in calls and "partial" not in (row.state, row.next)
    }
    # Only clone and downgrade give a duplicate one more reader, and no subject is asked them.
    # Writing anew what is Reset changes no state and no holder, so `rows` does not see it.
    assert wanted - shown == {
        ("acquire", "duplicate", "duplicate"),
        ("reset", "reset", "reset"),
    }


# ── asking ────────────────────────────────────────────────────────────────────────────────


def test_a_correct_manager_passes_all_that_it_declares() -> None:
    with ProcessSubject([sys.executable, "-S", str(ADAPTER)]) as subject:
        results = {vector.id: run(vector, subject) for vector in load()}
    assert not [str(result) for result in results.values() if result.status == "fail"]
    skipped = {id_ for id_, result in results.items() if result.status == "skip"}
    assert {id_ for id_ in skipped if id_.startswith("bugs/")} == {"bugs/BUG-17", "bugs/BUG-18"}
    assert all("allow" in id_ for id_ in skipped if id_.startswith("shortest/"))


def test_the_product_passes_all_of_them() -> None:
    results = [run(vector, KvbmSubject()) for vector in load()]
    assert [str(result) for result in results if result.status != "pass"] == []


MUTANTS = {
    "the key is kept when the slot goes": (
        "        del self.slot_of[key]  # before the slot is handed out\n",
        "",
        "bugs/BUG-13",
    ),
    "a second release is accepted": (
        '            raise Refused("StaleHandle")\n',
        "            self.free.append(0); self.handles[handle] = 0\n",
        "bugs/BUG-01",
    ),
    "the last released goes first": ("self.inactive.pop(0)", "self.inactive.pop()", "bugs/BUG-59"),
    "an eviction is not told": (
        '        self.events.append(["Removed", key])\n',
        "",
        "bugs/BUG-53",
    ),
    "a woken block stays in the queue": ("self.inactive.remove(slot)", "pass", "bugs/BUG-07"),
    "it rests when the first reader goes": (
        "elif slot not in self.handles.values():",
        "elif True:",
        "bugs/BUG-10",
    ),
    "staged content stays": (
        "        self.key_of.pop(slot, None)\n        return",
        "        self.slot_of.setdefault(self.key_of.get(slot), slot)\n        return",
        "bugs/BUG-19",
    ),
    "what there is is given": ("            return None\n", "            n = 1\n", "bugs/BUG-42"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_manager_fails_the_vector_of_its_bug(name: str, tmp_path: Path) -> None:
    old, new, bug = MUTANTS[name]
    source = ADAPTER.read_text("utf-8")
    assert source.count(old) == 1
    program = tmp_path / "mutant.py"
    program.write_text(source.replace(old, new), "utf-8")
    (vector,) = [each for each in BUGS if each.id == bug]
    with ProcessSubject([sys.executable, "-S", str(program)]) as subject:
        result = run(vector, subject)
    assert result.status == "fail"
    assert result.index is not None
    assert f"{bug}, step {result.index + 1}: " in result.reason


def test_a_manager_that_declares_no_events_is_not_asked_for_them(tmp_path: Path) -> None:
    source = ADAPTER.read_text("utf-8")
    silent = tmp_path / "silent.py"
    silent.write_text(
        source.replace('"policies"', '"events": False, "policies"').replace(
            'answer["events"]', "_"
        ),
        "utf-8",
    )
    with ProcessSubject([sys.executable, "-S", str(silent)]) as subject:
        assert not subject.capabilities().events
        assert {run(vector, subject).status for vector in BUGS} == {"pass", "skip"}


def test_what_is_not_declared_is_skipped_with_the_reason() -> None:
    class Other:
        name, version, spec_version = "other", "1", "1.0"

        def capabilities(self) -> Capabilities:
            return Capabilities(policies=("fifo",), duplicates=("allow",))

        def open(self, *_) -> Any:
            raise AssertionError("nothing may be asked")

    vector = BUGS[0]
    assert str(run(vector, Other())) == "skip: does not declare duplicates reject"
    wanted = replace(vector, duplicates="allow", policies=("lineage",))
    assert str(run(wanted, Other())) == "skip: declares none of lineage"


def test_a_program_is_asked_from_the_shell_and_the_exit_code_tells(tmp_path, capsys) -> None:
    assert main([sys.executable, "-S", str(ADAPTER)]) == 0
    told = capsys.readouterr().out
    assert re.fullmatch(r"tiny 1.0: \d+ pass, 0 fail, \d+ skip\n", told)
    assert told.replace("tiny", "tiny-c") in PROTOCOL.read_text("utf-8"), "the page shows others"
    mutant, broken = tmp_path / "mutant.py", tmp_path / "broken.py"
    source = ADAPTER.read_text("utf-8")
    mutant.write_text(source.replace("self.inactive.pop(0)", "self.inactive.pop()"), "utf-8")
    assert main([sys.executable, "-S", str(mutant)]) == 1
    assert "FAIL bugs/BUG-12, step 16: allocate(1) -> " in capsys.readouterr().out
    broken.write_text(source.replace('answer["ok"] = getattr', 'answer["yes"] = getattr'), "utf-8")
    assert main([sys.executable, "-S", str(broken)]) == 2
    assert "error: allocate: an answer has either ok or error" in capsys.readouterr().err
    assert main(["./no-such-program"]) == 2


# ── one form ──────────────────────────────────────────────────────────────────────────────


def _broken(change) -> Any:
    data = json.loads(write(BUGS[0]))
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: data.pop("steps"), r"\$: has no 'steps'"),
        (lambda data: data.update(extra=1), r"\$: 'extra' is not known"),
        (lambda data: data["config"].update(slots="2"), r"\$.config.slots: not of type integer"),
        (lambda data: data["config"].update(slots=True), r"\$.config.slots: not of type integer"),
        (lambda data: data["config"].update(slots=0), r"\$.config.slots: less than 1"),
        (lambda data: data["info"].update(since="one"), r"info.since: 'one' does not match"),
        (lambda data: data["info"].update(clauses=[]), r"info.clauses: has 0 items"),
        (lambda data: data["steps"][0].update(op="fly"), r"steps\[0\].op: 'fly' is none of"),
        (lambda data: data["steps"][1].update(expect={}), r"steps\[1\].expect: fits 0 of 2 forms"),
        (lambda data: data["steps"][0].update(events=[["Stored"]]), r"events\[0\]: fits 0 of 2"),
    ],
    ids=[f"change {number}" for number in range(10)],
)
def test_a_vector_of_another_form_is_refused_with_the_place(change, complaint) -> None:
    with pytest.raises(schema.Mismatch, match=complaint):
        read(json.dumps(_broken(change)))


def test_every_schema_uses_only_words_that_are_checked() -> None:
    def words(rule: Any, names: bool = False) -> set[str]:
        if isinstance(rule, list):
            return set().union(*map(words, rule))
        if not isinstance(rule, dict):
            return set()
        own = set() if names else set(rule)
        return own.union(*(words(rule[w], w in ("properties", "$defs")) for w in rule))

    files = list((DATA / "formats").glob("*.schema.json"))
    assert len(files) >= 3
    for file in files:
        assert words(json.loads(file.read_text("utf-8"))) <= schema.WORDS, file.name


def test_a_word_that_is_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="words that are not checked: maxLength"):
        list(schema.complaints_about("x", {"maxLength": 0}, {}))


@pytest.mark.parametrize("name", ["lifecycle", "hashes"])
def test_the_other_files_have_the_form_of_their_schema(name: str) -> None:
    (file,) = DATA.rglob(f"{name}.json")
    schema.check(json.loads(file.read_text("utf-8")), name)


def test_all_values_of_an_outcome_are_read_as_they_were_written() -> None:
    steps = (
        (Op("scan", keys=(2**64 - 1,)), Outcome({2**64 - 1: "h0"})),
        (Op("match", keys=()), Outcome([])),
        (Op("stage", handle="h0", keys=(1,), parent=0), Outcome("h1")),
        (Op("release", handle="h1"), Outcome(None, "Closed")),
        (Op("allocate", n=2), Outcome(None, events=(("Removed", 3), ("Cleared", None)))),
    )
    vector = Vector(
        id="one", title="all", clauses=("KV-LIF-01",), slots=1, duplicates="allow",
        policies=("lru",), steps=steps,
    )  # fmt: skip
    assert read(write(vector)) == vector


# ── hashes ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-IDN-02")
def test_the_file_of_hashes_is_made_anew_byte_for_byte() -> None:
    assert hashing.FILE.read_text("utf-8") == hashing.text(), "run python -m kvbm_spec.hashing"


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02", "KV-IDN-03")
@pytest.mark.parametrize("case", HASHES, ids=lambda case: case["about"])
def test_the_product_names_blocks_as_the_vectors_say(case: dict[str, Any]) -> None:
    tokens = range(case["tokens"]) if isinstance(case["tokens"], int) else case["tokens"]
    settings = {
        "lora_name": case.get("lora"),
        "cache_namespace": case.get("namespace"),
        "is_eagle": case.get("eagle"),
        "mm": case.get("media"),
        "scheme": case["scheme"],
    }
    first = case.get("first", 0)
    for hashes, names, digits in (
        (block_hashes, case["block_hashes"], 16),
        (sequence_hashes, case["sequence_hashes"], 32 if case["scheme"] == "lineage" else 16),
    ):
        got = hashes(list(tokens), case["block_size"], **settings)[first:]
        assert [f"{int(each):0{digits}x}" for each in got] == names


def test_the_vectors_are_those_that_were_measured_elsewhere() -> None:
    """Numbers of a wheel that was asked, and of a table in print."""
    by_name = {case["about"]: case for case in HASHES}
    assert int(by_name["three blocks"]["sequence_hashes"][2], 16) == 12583592247330656132
    assert int(by_name["v1"]["sequence_hashes"][2], 16) == 17051657107574398741
    assert by_name["packed"]["sequence_hashes"][1] == "005128ac8de75b4f0f78e4d7fb2dca5c"
    border = by_name["packed, mode 0 to 1"]["sequence_hashes"]
    assert border[2] == "4040000cdbb9c826433d86a2e8fcc8f7"


@pytest.mark.clause("KV-IDN-03", "KV-IDN-04", "KV-IDN-08")
def test_what_must_differ_differs_and_what_must_not_does_not() -> None:
    last = {case["about"]: case["sequence_hashes"][-1:] for case in HASHES}
    differ = [
        *("three blocks", "an adapter", "a namespace", "both", "an adapter x", "a namespace x"),
        *("a and bc", "ab and c", "one token ahead", "media", "other media", "not ASCII"),
        *("another order", "another block size", "v1, both", "v1, empty is present"),
    ]
    assert len({str(last[name]) for name in differ}) == len(differ)
    assert last["three blocks"] == last["empty is absent"]
    assert last["media"] == last["media are sorted"]
    assert last["no tokens"] == last["less than a block"] == []
    (twice,) = [case for case in HASHES if case["about"] == "one content twice"]
    assert len(set(twice["block_hashes"])) == 1
    assert len(set(twice["sequence_hashes"])) == 2


def test_every_hash_is_written_with_all_of_its_digits() -> None:
    text = hashing.FILE.read_text("utf-8")
    assert len(re.findall(r'"[0-9a-f]{16}"', text)) > 100
    assert len(re.findall(r'"[0-9a-f]{32}"', text)) >= 14
