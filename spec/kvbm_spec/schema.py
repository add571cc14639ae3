"""Schema: checks a JSON value against a schema of `data/formats`, with the words they use.

What this is
    A small part of JSON Schema, so that the suite needs no library for it. Any other
    validator can be used on the same files.

Interface, as rules of use
    * `check(value, "vector")` returns, or raises `Mismatch` with the place.
    * A schema may use the words in `WORDS`. Another word is an error: a rule that is
      skipped in silence would check nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Final

WORDS: Final = {
    *("$schema", "$id", "$defs", "title", "description"),  # say something, check nothing
    *("$ref", "type", "const", "enum", "pattern", "minimum", "maximum", "oneOf"),
    *("properties", "required", "additionalProperties", "propertyNames"),
    *("items", "prefixItems", "minItems", "maxItems"),
}

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


class Mismatch(ValueError):
    """A value has another form than its schema says."""


def check(value: Any, name: str) -> None:
    """Raise `Mismatch`, with all complaints, if `value` is not as `name`.schema.json says."""
    root = load(name)
    complaints = list(complaints_about(value, root, root))
    if complaints:
        raise Mismatch("; ".join(complaints))


@cache
def load(name: str) -> dict[str, Any]:
    """Give a schema."""
    file = resources.files("kvbm_spec").joinpath("data", "formats", f"{name}.schema.json")
    data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return data


def complaints_about(
    value: Any, rule: dict[str, Any], root: dict[str, Any], place: str = "$"
) -> Iterator[str]:
    """Tell what is wrong with `value`, and where.

    Examples
    --------
    >>> rule = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    >>> list(complaints_about([1, -1, "x"], rule, rule))
    ['$[1]: less than 0', '$[2]: not of type integer']
    """
    if unknown := rule.keys() - WORDS:
        raise ValueError(f"the schema has words that are not checked: {', '.join(sorted(unknown))}")
    if "$ref" in rule:
        target = root["$defs"][rule["$ref"].removeprefix("#/$defs/")]
        yield from complaints_about(value, target, root, place)
    if "type" in rule and not _is_of(value, rule["type"]):
        yield f"{place}: not of type {rule['type']}"
        return
    yield from _of_the_value(value, rule, place)
    if "oneOf" in rule:
        fitting = [r for r in rule["oneOf"] if not list(complaints_about(value, r, root, place))]
        if len(fitting) != 1:
            yield f"{place}: fits {len(fitting)} of {len(rule['oneOf'])} forms, not one"
    if isinstance(value, dict):
        yield from _of_an_object(value, rule, root, place)
    if isinstance(value, list):
        yield from _of_an_array(value, rule, root, place)


def _of_the_value(value: Any, rule: dict[str, Any], place: str) -> Iterator[str]:
    if "const" in rule and value != rule["const"]:
        yield f"{place}: not {rule['const']!r}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{place}: {value!r} is none of {rule['enum']}"
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        yield f"{place}: {value!r} does not match {rule['pattern']}"
    if isinstance(value, int) and value < rule.get("minimum", value):
        yield f"{place}: less than {rule['minimum']}"
    if isinstance(value, int) and value > rule.get("maximum", value):
        yield f"{place}: more than {rule['maximum']}"


def _of_an_object(
    value: dict[str, Any], rule: dict[str, Any], root: dict[str, Any], place: str
) -> Iterator[str]:
    yield from (f"{place}: has no {n!r}" for n in rule.get("required", ()) if n not in value)
    known = rule.get("properties", {})
    for name, each in value.items():
        if "propertyNames" in rule:
            yield from complaints_about(name, rule["propertyNames"], root, place)
        inner = known.get(name, rule.get("additionalProperties", {}))
        if inner is False:
            yield f"{place}: {name!r} is not known"
        else:
            yield from complaints_about(each, inner, root, f"{place}.{name}")


def _of_an_array(
    value: list[Any], rule: dict[str, Any], root: dict[str, Any], place: str
) -> Iterator[str]:
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        yield f"{place}: has {len(value)} items"
    first = rule.get("prefixItems", [])
    for index, each in enumerate(value):
        inner = first[index] if index < len(first) else rule.get("items", {})
        yield from complaints_about(each, inner, root, f"{place}[{index}]")


def _is_of(value: Any, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    if isinstance(value, bool):  # an int in Python, and none in JSON
        return "boolean" in wanted
    return any(isinstance(value, _TYPES[name]) for name in wanted)
