"""Spoiled: files that are not what a subject left there.

What this is
    Two blocks are stored and closed. Then the files are deleted, cut, replaced, flipped or
    made to be what an attacker would write, in one way after the other; and each time the
    subject must open, give right bytes or misses, forget what it has found to be bad, and go
    on.

Interface, as rules of use
    * A way to spoil files is a pure function of all of them: no name and no format of a
      subject is known here. Blocks are found by their bytes, where they lie in one piece.
    * The program of a failure is the text of its way.

Clauses: KV-PER-06, KV-INT-03, KV-INT-04, KV-ISO-06
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kvbm_spec.disk import SECTOR, Image
from kvbm_spec.explore import Failure, Findings
from kvbm_spec.recorder import put_image
from kvbm_spec.subject import Subject, SubjectError
from kvbm_spec.trial import Broken, Check, Program, Script, Trial
from kvbm_spec.trials.disks import (
    SLOTS,
    capabilities,
    content,
    evenly,
    failure,
    opened,
    scratch,
    stored,
)

FOREIGN: Final = "KV-PER-06"
DETECTED: Final = "KV-INT-03"
MISSED: Final = "KV-INT-04"
UNTRUSTED: Final = "KV-ISO-06"

LIMITS: Final[Mapping[str, int]] = {"smoke": 3, "ci": 1_000, "nightly": 1_000}
"""By effort, how many ways are tried."""

FLIPS: Final = 8
"""Bytes of a file that are flipped, one at a time, beside those of a block."""

Ways: TypeAlias = Callable[[Image], Iterator[tuple[str, Image]]]
"""Gives ways to spoil files: in words, and what is found then."""


@dataclass(frozen=True, slots=True)
class Spoiling:
    """A trial of many ways. Wrong bytes break `wrong`, and whatever is raised `raised`."""

    name: str
    wrong: str
    raised: str
    ways: Ways
    ability: str = "restart"

    @property
    def clauses(self) -> tuple[str, ...]:
        """See Trial."""
        return self.wrong, MISSED

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial."""
        findings, started = Findings(), time.perf_counter()
        script = Script(subject, self.raised)
        if self.wrong != DETECTED or capabilities(script).checksums:
            try:
                ways = list(self.ways(stored(script)))
            except (Broken, SubjectError) as broken:
                findings.add(failure(script, broken, self.name, ()))
                ways = []
            for text, image in evenly(ways, LIMITS[effort]):
                self._play(subject, text, image, findings)
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial."""
        findings, script = Findings(), Script(subject, self.raised)
        try:
            ways = dict(self.ways(stored(script)))
        except (Broken, SubjectError) as broken:
            return failure(script, broken, self.name, program)
        for text in program:
            self._play(subject, text, ways[text], findings)
        return next(iter(findings.failures.values()), None)

    def _play(self, subject: Subject, text: str, image: Image, findings: Findings) -> None:
        script = Script(subject, self.raised)
        script.say(f"K0 to K{SLOTS - 1} are stored, and the cache is closed; {text}")
        _exploded.clear()
        try:
            live_on(script, image, self.wrong)
            script.expect(self.wrong, not _exploded, f"{text}, and its code was run")
        except (Broken, SubjectError) as broken:
            findings.add(failure(script, broken, self.name, (text,)))
        findings.situations.update(script.situations)
        findings.situations[self.name] += 1
        findings.states += 1
        findings.transitions += len(script.lines)


def live_on(script: Script, image: Image, wrong: str) -> None:
    """Open what is there: right bytes or misses, a miss stays one, and blocks can be stored."""
    with scratch() as folder:
        put_image(image, folder)
        with opened(script, folder) as disk:
            found = disk.keys()
            came = disk.read_all(range(SLOTS), wrong)
            missed = found - came
            if missed:
                script.reached("found out")
                script.clause = MISSED
            if came:
                script.reached("not all was lost")
            still = sorted(disk.keys() & missed)
            script.expect(MISSED, not still, f"{still} were found to be bad, and still are hits")
            for key in (6, *sorted(missed)[:1]):
                disk.store([key])
                kept = disk.read(key, wrong)
                script.expect(script.clause, kept, f"K{key} cannot be stored any more")


# ── ways ──────────────────────────────────────────────────────────────────────────────────


def deleted_cut_and_foreign(image: Image) -> Iterator[tuple[str, Image]]:
    """Delete, cut and replace each file, and lay strange ones beside it."""
    yield "all files are deleted", {}
    for path, data in image.items():
        rest = {other: image[other] for other in image if other != path}
        yield f"{path} is deleted", rest
        yield f"{path} is empty", {**rest, path: b""}
        yield f"{path} lacks its last byte", {**rest, path: data[:-1]}
        yield f"{path} is cut to a third", {**rest, path: data[: len(data) // 3]}
        yield f"{path} is garbage", {**rest, path: content(99, len(data))}
        yield f"{path} is much longer", {**rest, path: data + content(99, 4 * len(data))}
        for end in (".tmp", ".new", "~"):
            yield f"{path}{end} lies beside it", {**image, f"{path}{end}": content(99, 999)}
    yield "strange files lie in the folder", {**image, "0": b"\n", "strange/file": b"\xff" * 99}


def flipped_and_exchanged(image: Image) -> Iterator[tuple[str, Image]]:
    """Flip single bytes, of each block and everywhere; exchange two blocks."""
    for path, data in image.items():
        blocks = [data.find(content(key, SECTOR)) for key in range(SLOTS)]
        places = {at + SECTOR // 2 for at in blocks if at >= 0}
        places |= {(2 * part + 1) * len(data) // (2 * FLIPS) for part in range(FLIPS)}
        for place in sorted(place for place in places if place < len(data)):
            flipped = bytearray(data)
            flipped[place] ^= 0x5A
            yield f"byte {place} of {path} is flipped", {**image, path: bytes(flipped)}
        if min(blocks) >= 0:
            yield f"the blocks in {path} changed places", {**image, path: _exchanged(data, blocks)}


def made_by_an_attacker(image: Image) -> Iterator[tuple[str, Image]]:
    """Replace files by pickles that run code, by numbers and by nesting without end."""
    evil = {
        "a pickle": pickle.dumps(_Bomb()),
        "nesting without end": b"[" * 200_000,
        "an object without end": b'{"a":' * 100_000 + b"\n",
        "one long number": b"9" * 100_000 + b"\n",
    }
    for path, data in image.items():
        for what, content_ in evil.items():
            yield f"{path} is {what}", {**image, path: content_}
        for offset in range(0, min(len(data), 32), 4):
            absurd = data[:offset] + b"\xff" * 8 + data[offset + 8 :]
            yield f"{path} is absurd from byte {offset} on", {**image, path: absurd}


def _exchanged(data: bytes, blocks: list[int]) -> bytes:
    first, second = sorted(blocks)[:2]
    size = second - first
    swapped = data[second : second + size] + data[first:second]
    return data[:first] + swapped + data[second + size :]


_exploded: Final[list[str]] = []


def _explode(what: str) -> None:
    _exploded.append(what)


class _Bomb:
    """Whoever unpickles it has run code that came from a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _explode, ("a pickle was loaded",)


TRIALS: Final[tuple[Trial, ...]] = (
    Spoiling("spoiled files are misses", FOREIGN, FOREIGN, deleted_cut_and_foreign),
    Spoiling("flipped bytes are misses", DETECTED, MISSED, flipped_and_exchanged),
    Spoiling("untrusted files are misses", UNTRUSTED, UNTRUSTED, made_by_an_attacker),
)

CHECKS: Final[Mapping[str, Check]] = {
    FOREIGN: Check(("spoiled files are misses", "not all was lost"), "restart"),
    DETECTED: Check(("flipped bytes are misses", "found out"), "restart"),
    MISSED: Check(("found out",), "restart"),
    UNTRUSTED: Check(("untrusted files are misses", "opened with a path as name"), "restart"),
}
