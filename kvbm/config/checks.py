"""Checks that all configurations share. Each names the field and the value.

Interface, as rules of use
    * Call them from `__post_init__`, so that no way of making a configuration goes round them.
    * `within(place)` puts the place in front of the field of an error that passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kvbm.errors import InvalidConfig, MissingSetting, UnknownSetting
from kvbm.identity.tokens import exact_integer


def check_integer(config: Any, field: str, least: int, most: int | None = None) -> None:
    """Refuse what is no integer in `least` … `most`; a NumPy integer becomes an int."""
    value = getattr(config, field)
    number = exact_integer(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"in {least} … {most}"
        raise InvalidConfig(field, value, f"must be an integer {bounds}")
    object.__setattr__(config, field, number)


def check_type(config: Any, field: str, kind: type, *, optional: bool = False) -> None:
    """Refuse what is no `kind`; None passes where it is `optional`."""
    value = getattr(config, field)
    if not isinstance(value, kind) and not (optional and value is None):
        rule = f"must be of type {kind.__name__}{', or None' if optional else ''}"
        raise InvalidConfig(field, value, rule)


def check_methods(config: Any, field: str, *methods: str) -> None:
    """Refuse what lacks one of these methods. None passes."""
    value = getattr(config, field)
    for method in methods if value is not None else ():
        if not callable(getattr(value, method, None)):
            raise InvalidConfig(field, value, f"must have the method {method}()")


def check_choice(config: Any, field: str, known: Iterable[str]) -> None:
    """Refuse what is not one of `known`."""
    value, names = getattr(config, field), tuple(known)
    if value not in names:
        raise InvalidConfig(field, value, f"must be one of {', '.join(names)}")


@contextmanager
def within(place: str) -> Iterator[None]:
    """Name errors that pass by `place.field` instead of `field`."""
    try:
        yield
    except (UnknownSetting, MissingSetting):  # these name their place already
        raise
    except InvalidConfig as error:
        raise InvalidConfig(f"{place}.{error.field}", error.value, error.rule) from error
