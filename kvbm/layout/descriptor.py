"""Descriptors: a layout as JSON, to be compared field by field on the other side.

What this is
    What two sides must agree on before a byte moves. Nothing is guessed and nothing has a
    default: a field that is missing, unknown or of the wrong type is refused.

        {"version": 1, "kind": "LayerSeparate", "config": {"num_blocks": 3, …},
         "details": {"outer_contiguous": false}}

Interface, as rules of use
    * Send `layout.descriptor()`; read it with `LayoutDescriptor.parse(text)`.
    * `refuse_unless_equal` names the first field that differs.
    * `layout_from(descriptor)` in `factory` makes the layout again, except a custom one,
      whose arithmetic is code and does not travel.

Clauses: KV-INT-05, KV-ISO-06, KV-RMT-07
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kvbm.errors import InvalidConfig, InvalidDescriptor, LayoutMismatch
from kvbm.layout.axes import BlockOrder
from kvbm.layout.config import LayoutConfig
from kvbm.layout.dtypes import DType
from kvbm.layout.kinds import LayoutType

VERSION = 1
LONGEST = 64 * 1024
"""Characters of a descriptor. One of a ragged layout of 4,096 layers fits."""


@dataclass(frozen=True)
class LayoutDescriptor:
    """All that makes a layout what it is, and nothing about where its memory is."""

    kind: LayoutType
    config: LayoutConfig
    details: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> str:
        """Serialise. Equal layouts give equal texts."""
        config: dict[str, Any] = {
            f.name: getattr(self.config, f.name) for f in fields(LayoutConfig)
        }
        config |= {"dtype": self.config.dtype.name, "order": self.config.order.name}
        whole = {"version": VERSION, "kind": self.kind.value, "config": config}
        return json.dumps(whole | {"details": dict(self.details)})

    @classmethod
    def parse(cls, text: str | bytes) -> LayoutDescriptor:
        """Read what `json` wrote.

        Raises
        ------
        InvalidDescriptor
            The text is too long, no JSON, of another version, or a field is missing,
            unknown, doubled, or has an impossible value.

        Clauses: KV-ISO-06
        """
        if len(text) > LONGEST:
            raise InvalidDescriptor(f"{len(text)} characters, more than {LONGEST}")
        try:
            whole = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidDescriptor(f"no JSON: {error}") from error
        if isinstance(whole, dict) and whole.get("version") != VERSION:
            version = whole.get("version")
            raise InvalidDescriptor(f"version {version!r}; this program reads version {VERSION}")
        _exactly(whole, "descriptor", {"version", "kind", "config", "details"})
        _exactly(whole["config"], "config", {f.name for f in fields(LayoutConfig)})
        if not isinstance(whole["details"], dict):
            raise InvalidDescriptor(f"details = {whole['details']!r}: must be an object")
        return cls(_kind(whole["kind"]), _config(whole["config"]), whole["details"])

    def refuse_unless_equal(self, other: LayoutDescriptor, *, but: tuple[str, ...] = ()) -> None:
        """Compare with what the other side says.

        Parameters
        ----------
        other
        but
            Fields that may differ, such as `num_blocks`.

        Raises
        ------
        LayoutMismatch
            Names the first field that differs.

        Clauses: KV-INT-05, KV-RMT-07
        """
        ours, theirs = self._flat(), other._flat()
        for name in (*ours, *(n for n in theirs if n not in ours)):
            if name not in but and ours.get(name) != theirs.get(name):
                raise LayoutMismatch(name, ours.get(name), theirs.get(name))

    def _flat(self) -> dict[str, Any]:
        config = {f.name: getattr(self.config, f.name) for f in fields(LayoutConfig)}
        return {"kind": self.kind, **config, **self.details}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; JSON itself would let the last of two equal names win."""
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise ValueError("a field is there twice")
    return whole


def _exactly(value: Any, where: str, names: set[str]) -> None:
    if not isinstance(value, dict):
        raise InvalidDescriptor(f"{where} is no object")
    for name in sorted(names ^ value.keys()):
        raise InvalidDescriptor(f"{where}.{name} is {'missing' if name in names else 'unknown'}")


def _kind(value: Any) -> LayoutType:
    try:
        return LayoutType(value)
    except ValueError as error:
        raise InvalidDescriptor(f"kind = {value!r}: there is no such layout") from error


def _config(value: dict[str, Any]) -> LayoutConfig:
    dtype = value["dtype"]
    if not isinstance(dtype, str) or dtype not in DType.__members__:
        raise InvalidDescriptor(f"config.dtype = {dtype!r}: there is no such type")
    if not isinstance(value["order"], str):
        raise InvalidDescriptor(f"config.order = {value['order']!r}: must be text")
    try:
        order = BlockOrder.named(value["order"])
        return LayoutConfig(**value | {"dtype": DType[dtype], "order": order})
    except InvalidConfig as error:
        raise InvalidDescriptor(f"config.{error}") from error
