"""Configuration of a disk tier that outlives its process.

Interface, as rules of use
    * `KvManagerLayoutConfig(num_blocks=…, persistence=DiskPersistence(path="/var/cache/kvbm"))`,
      for the disk tier. It says where the memory comes from, so there is no allocator.
    * In the directory are the files `<file_name>.blocks` (with a number each where the layout
      wants several) and `<file_name>.index`. They are ours: content of another model, or of
      nobody, is written over. One process at a time may have them.
    * Blocks are found again if everything is as it was: model, dtype, layout, hash scheme.
      What the shape of a block does not show, such as other weights, `model_revision` says.

Clauses: KV-PER-04, KV-ISO-06
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from kvbm.config.builder import Buildable
from kvbm.config.checks import check_type
from kvbm.errors import InvalidConfig
from kvbm.storage import DiskAllocator

LONGEST_REVISION: Final = 1024
"""Characters of a model's revision."""


@final
@dataclass(frozen=True, kw_only=True)
class DiskPersistence(Buildable):
    """Where a cache lives on, and for which model.

    Parameters
    ----------
    path
        An existing directory, by default that of `DiskAllocator`.
    file_name
        How the files in it begin.
    model_revision
        Name and revision of the model's weights, or whatever else tells two caches apart.
    sync
        Wait until a block is safe from a crash of the machine before it can be found. Without
        it, only a crash of the process is survived for sure; what the machine loses is a miss.
    direct
        Try direct access, as in `DiskAllocator`.

    Raises
    ------
    InvalidConfig
        The directory is missing, the file name is no plain name, or a value has a wrong type.
    """

    path: str | os.PathLike[str] | None = None
    file_name: str = "kvbm-disk-cache"
    model_revision: str = ""
    sync: bool = True
    direct: bool | None = None

    def __post_init__(self) -> None:
        check_type(self, "file_name", str)
        check_type(self, "model_revision", str)
        if len(self.model_revision) > LONGEST_REVISION:
            rule = f"must have at most {LONGEST_REVISION} characters"
            raise InvalidConfig("model_revision", self.model_revision, rule)
        check_type(self, "sync", bool)
        check_type(self, "direct", bool, optional=True)
        # Which checks the directory and the name.
        DiskAllocator(self.path, persistent=True, file_name=self.file_name)

    @property
    def index(self) -> Path:
        """The file that says which block lies where."""
        return self.allocator(0).path / f"{self.file_name}.index"

    def blocks(self, number: int) -> Path:
        """Give the file of one storage of the layout."""
        return self.index.with_name(self._name(number))

    def allocator(self, number: int) -> DiskAllocator:
        """Make the allocator of one storage of the layout."""
        name = self._name(number)
        return DiskAllocator(self.path, persistent=True, file_name=name, direct=self.direct)

    def _name(self, number: int) -> str:
        return f"{self.file_name}.blocks" + (f".{number}" if number else "")
