"""Replayed: failures as files that can be asked of any subject.

What this is
    A failing history in the form of a vector: the pool, the calls, and what the model
    answers. It names the clause, and nothing of the subject that failed it.

Interface, as rules of use
    * `write` makes the text, `read` gives back the pool and the calls.
    * Replay it with `kvbm_spec.explore.replay(subject, config, ops)`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kvbm_spec.explore import Failure
from kvbm_spec.operations import Op
from kvbm_spec.subject import PoolConfig


def write(failure: Failure) -> str:
    """Write a failure as JSON."""
    document: dict[str, Any] = {
        "info": {
            "id": f"found/{failure.clause.lower()}",
            "clauses": [failure.clause],
            "since": "1.0",
            "generator": failure.found_by,
            "what": failure.verdict.what,
        },
        "config": asdict(failure.config),
        "steps": [step.op.to_json() | step.expected.to_json() for step in failure.steps],
    }
    return json.dumps(document, indent=2) + "\n"


def read(text: str) -> tuple[PoolConfig, list[Op]]:
    """Read the pool and the calls.

    Raises
    ------
    ValueError
        The text is no JSON, or not of this form; the message names what is missing.
    """
    document = json.loads(text)
    try:
        config = PoolConfig(**document["config"])
        return config, [Op.from_json(step) for step in document["steps"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no stored history: {error!r}") from error
