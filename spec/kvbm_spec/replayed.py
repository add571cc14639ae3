"""Replayed: failures as files that can be asked of any subject.

What this is
    A failing history in the form of a vector: the pool, the calls, and what the model
    answers. Of a trial: its name and program. It names the clause, and nothing of the
    subject that failed it.

Interface, as rules of use
    * `write` makes the text, `play` asks a subject again what stands in one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kvbm_spec.explore import Failure, replay
from kvbm_spec.operations import Op, Step
from kvbm_spec.subject import PoolConfig, Subject
from kvbm_spec.trial import Trial
from kvbm_spec.trials import TRIALS


def write(failure: Failure) -> str:
    """Write a failure as JSON."""
    document: dict[str, Any] = {
        "info": {
            "id": f"found/{failure.clause.lower()}",
            "clauses": [failure.clause],
            "since": "1.0",
            "generator": failure.found_by,
            "what": failure.verdict.what,
        }
    }
    if failure.config is None:
        document |= {"trial": failure.trial, "program": list(failure.program)}
    else:
        calls = [step for step in failure.steps if isinstance(step, Step)]
        document |= {
            "config": asdict(failure.config),
            "steps": [step.op.to_json() | step.expected.to_json() for step in calls],
        }
    return json.dumps(document, indent=2) + "\n"


def play(subject: Subject, text: str, found_by: str) -> Failure | None:
    """Ask a subject again; give the failure, if there still is one.

    Raises
    ------
    ValueError
        The text is no JSON, or not of this form; the message names what is missing.
    """
    document = json.loads(text)
    try:
        if "trial" in document:
            return _trial(document["trial"]).replay(subject, tuple(document["program"]))
        config = PoolConfig(**document["config"])
        ops = [Op.from_json(step) for step in document["steps"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no stored history: {error!r}") from error
    return replay(subject, config, ops, found_by)[0]


def _trial(name: str) -> Trial:
    found = next((trial for trial in TRIALS if trial.name == name), None)
    if found is None:
        raise ValueError(f"there is no trial {name!r}")
    return found
