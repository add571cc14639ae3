"""Builder: the chain `X.builder().a(1).b(2).build()` for every configuration.

What this is
    The other spelling of a constructor with keyword arguments. The builder knows nothing
    of its own: it takes the names from the constructor's signature, and hands over.

Interface, as rules of use
    * Each setting of the constructor is a method of the builder; the last call of it counts.
    * `build()` makes a new object; the builder stays usable.
    * An unknown setting is refused when it is named, a missing one by `build()`, and what
      is wrong with a value by the constructor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Self, TypeVar

from kvbm.errors import MissingSetting, UnknownSetting

Target = TypeVar("Target")


class Builder(Generic[Target]):
    """Collects the settings of `target`.

    Raises
    ------
    UnknownSetting
        `target` has no setting of the name that was called.
    """

    def __init__(self, target: type[Target]) -> None:
        self._target = target
        self._settings: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[[Any], Self]:
        if name.startswith("_"):  # such as copy and pickle ask for
            raise AttributeError(name)
        check_names(self._target.__name__, self._target, [name])
        return partial(self._record, name)

    def build(self) -> Target:
        """Call the constructor.

        Raises
        ------
        MissingSetting
            A setting without default was never set.
        InvalidConfig
            The constructor refuses a value.
        """
        return call_with(self._target.__name__, self._target, self._settings)

    def _record(self, name: str, value: Any) -> Self:
        self._settings[name] = value
        return self

    def __repr__(self) -> str:
        settings = "".join(f".{name}({value!r})" for name, value in self._settings.items())
        return f"{self._target.__name__}.builder(){settings}"


class Buildable:
    """Gives a class its `builder()`."""

    @classmethod
    def builder(cls) -> Builder[Self]:
        """Begin a chain: one call a setting, then `build()`."""
        return Builder(cls)


def check_names(
    place: str,
    function: Callable[..., object],
    names: Iterable[str],
    also: Sequence[str] = (),
) -> None:
    """Refuse the first of `names` that is neither a parameter of `function` nor in `also`."""
    known = (*inspect.signature(function).parameters, *also)
    for name in names:
        if name not in known:
            raise UnknownSetting(place, name, known)


def call_with(place: str, function: Callable[..., Target], settings: Mapping[str, Any]) -> Target:
    """Call `function` with `settings`; errors about their names say `place`."""
    check_names(place, function, settings)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is parameter.empty and parameter.name not in settings:
            raise MissingSetting(place, parameter.name)
    return function(**settings)
