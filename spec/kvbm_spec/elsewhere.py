"""Elsewhere: the keys that another process computes.

What this is
    `python -m kvbm_spec.elsewhere module:Class` makes a subject there and writes its root
    and its keys for `SAMPLES`. `ask_elsewhere` runs that with another hash seed; a subject
    that is a program is started a second time.

Interface, as rules of use
    * A subject is made without arguments, so its class is all that the other process needs;
      a class inside a function cannot be found there.

Clauses: KV-IDN-02
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from functools import reduce
from typing import Any, Final

from kvbm_spec.identity import TEXTS, Hashing, Identity
from kvbm_spec.process import ProcessSubject

SAMPLES: Final = ((1, 2, 3, 4, 5, 6, 7, 8), (0,) * 8, tuple(range(2**32 - 8, 2**32)))
"""Prompts of two blocks."""

DEADLINE: Final = 60.0
"""Seconds for another interpreter to start and to answer."""

UNKNOWN: Final = 3
"""Exit code of a process in which there is no such class."""


def answers(subject: Hashing) -> dict[str, Any]:
    """Give root and keys, each key as text."""
    given = {name: f"{name} é" for name in TEXTS if name in subject.identity_fields()}
    identities = (Identity(), Identity().having(**given))
    return {
        "root": subject.hash_root(),
        "keys": [
            key.hex() if isinstance(key, bytes) else str(int(key))
            for tokens in SAMPLES
            for identity in identities
            for key in subject.block_keys(tokens, 4, identity)
        ],
    }


def ask_elsewhere(subject: Hashing, *, hash_seed: str) -> dict[str, Any] | None:
    """Ask the same subject in another process; None if it cannot be made there.

    Raises
    ------
    RuntimeError
        It has failed; the message is what it said last.
    """
    if isinstance(subject, ProcessSubject):
        with subject.again() as other:
            return answers(other)  # type: ignore[arg-type]  # it declares what the first does
    return answers_elsewhere(name_of(subject), hash_seed=hash_seed)


def name_of(subject: object) -> str:
    """Name the class of a subject, for another process."""
    return f"{type(subject).__module__}:{type(subject).__qualname__}"


def answers_elsewhere(name: str, *, hash_seed: str) -> dict[str, Any] | None:
    """Ask a subject in another process; None if it cannot be made there.

    Raises
    ------
    RuntimeError
        It has failed; the message is what it said last.
    """
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(  # noqa: S603 - this interpreter, and a class that runs in it already
        [sys.executable, "-m", "kvbm_spec.elsewhere", name],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=DEADLINE,
    )
    if done.returncode == UNKNOWN:
        return None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no answer"])[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(name: str) -> None:
    """Write the answers of the class of this name."""
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        subject = reduce(getattr, path.split("."), found)()
    except (ImportError, AttributeError, TypeError):
        sys.exit(UNKNOWN)
    json.dump(answers(subject), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
