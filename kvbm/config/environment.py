"""Read the environment: from variables that are set to settings.

Interface, as rules of use
    * A value that cannot be read is an error that names variable and value, never a default.
    * What is set and has no effect is told: `unknown`, and known but `ignored`.
    * Nothing is read at import; the environment is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from kvbm.config.variables import PREFIX, VARIABLES, Variable
from kvbm.errors import InvalidConfig


@dataclass(frozen=True)
class Environment:
    """What an environment says."""

    settings: dict[str, dict[str, Any]]
    """Sections of settings, as in `kvbm.config.settings`."""
    origins: dict[str, str]
    """Variable by `section.name` of its setting."""
    unknown: tuple[str, ...]
    """Variables that begin with `DYN_KVBM_` and are in no table."""
    ignored: tuple[str, ...]
    """Variables of the table that have no effect here."""


def read_environment(
    environ: Mapping[str, str], variables: Sequence[Variable] = VARIABLES
) -> Environment:
    """Read all `variables` that are set.

    Raises
    ------
    InvalidConfig
        A value cannot be read; the message names variable and value.

    Examples
    --------
    >>> found = read_environment({"DYN_KVBM_CPU_CACHE_GB": "0.5", "DYN_KVBM_CPU_CACHE": "1"})
    >>> found.settings, found.unknown
    ({'host': {'cache_size_gb': Fraction(1, 2)}}, ('DYN_KVBM_CPU_CACHE',))
    """
    settings: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    unknown, ignored = [], []
    for name in sorted(environ):
        variable = next((one for one in variables if fnmatchcase(name, one.name)), None)
        if variable is None:
            if name.startswith(PREFIX):
                unknown.append(name)
            continue
        value = _parsed(variable, name, environ[name])
        if not variable.honoured:
            ignored.append(name)
        elif value is not None:
            section, setting = variable.setting.split(".")
            settings.setdefault(section, {})[setting] = value
            origins[variable.setting] = name
    return Environment(settings, origins, tuple(unknown), tuple(ignored))


def _parsed(variable: Variable, name: str, value: str) -> Any:
    try:
        return variable.parse(value)
    except InvalidConfig as error:
        raise InvalidConfig(name, value, error.rule) from error
    except ValueError as error:
        raise InvalidConfig(name, value, str(error)) from error
