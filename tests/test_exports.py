"""The documented names are there, under `kvbm` itself, and cost nothing until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

import kvbm

ROOT: Final = Path(__file__).parents[1]

DOCUMENTED: Final = {
    *("KvBlockManager", "BlockManager", "Block", "Layer", "BlockPool"),
    *("KvBlockManagerConfig", "KvManagerModelConfig", "KvManagerRuntimeConfig"),
    *("KvManagerLayoutConfig", "BlockParallelismStrategy", "NixlOptions", "NixlAgent"),
    *("create_config_from_env", "LayoutType", "LayoutStrategy", "DType", "SequenceHash"),
    *("MutableBlock", "ImmutableBlock", "BasicMetadata", "EvictionMode", "EvictionPolicy"),
    *("BlockManagerError", "BlockPoolError", "StorageError", "BlockError", "BlockNotComplete"),
    *("NotEnoughBlocksAvailable", "ProgressEngineShutdown", "Storage", "StorageType"),
    *("SystemStorage", "SystemAllocator", "PinnedStorage", "PinnedAllocator"),
    *("DeviceAllocator", "DiskStorage", "DiskAllocator", "StorageAllocator"),
    *("NullDeviceStorage", "NullDeviceAllocator", "calculate_storage_requirements"),
    *("validate_storage", "get_optimal_storage"),
}


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_documented_names_are_exported() -> None:
    assert not DOCUMENTED - set(kvbm.__all__)


@pytest.mark.parametrize("name", kvbm.__all__)
def test_an_exported_name_is_the_object_of_its_room(name: str) -> None:
    room = next((room for room, names in kvbm._NAMES.items() if name in names), "kvbm.errors")
    own = kvbm._OTHER_NAMES.get(name, name)
    assert getattr(kvbm, name) is getattr(import_module(room), own)
    assert name in dir(kvbm)


def test_the_three_lists_of_names_agree() -> None:
    """What a type checker sees, what a star import takes, and what the table finds."""
    tree = ast.parse(Path(str(kvbm.__file__)).read_text("utf-8"))
    seen = {
        (import_from.module, name.name, name.asname or name.name)
        for node in tree.body
        if isinstance(node, ast.If)
        for import_from in node.body
        if isinstance(import_from, ast.ImportFrom)
        for name in import_from.names
    }
    found = {(room, name, name) for room, names in kvbm._NAMES.items() for name in names}
    renamed = {(kvbm._ROOM_OF[own], own, name) for name, own in kvbm._OTHER_NAMES.items()}
    assert seen == found | renamed
    assert sorted(name for _, _, name in seen) == sorted(kvbm.__all__)


def test_the_base_of_all_errors_has_two_names() -> None:
    assert kvbm.BlockManagerError is kvbm.KvbmError
    assert issubclass(kvbm.NotEnoughBlocksAvailable, kvbm.BlockManagerError)
    assert issubclass(kvbm.StorageError, kvbm.BlockManagerError)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kvbm' has no attribute 'KvBlockManger'"):
        kvbm.KvBlockManger  # noqa: B018
    with pytest.raises(ImportError):
        exec("from kvbm import NotThere")  # noqa: S102  # a line that no linter may see
    assert not hasattr(kvbm, "__wrapped__")


def test_importing_the_house_imports_no_room() -> None:
    loaded = loaded_by("import kvbm; assert set(kvbm.__all__) <= set(dir(kvbm))")
    assert not {name for name in loaded if name.startswith("kvbm.")}
    assert not loaded & {"numpy", "numba", "ml_dtypes", "xxhash", "rich"}


def test_a_name_is_looked_up_once() -> None:
    assert kvbm.DType is vars(kvbm)["DType"]


def test_an_error_can_be_had_without_a_heavy_import() -> None:
    loaded = loaded_by("from kvbm import BlockManagerError")
    assert "kvbm.errors" in loaded
    assert not loaded & {"numpy", "numba"}


def test_a_star_gives_all_names() -> None:
    namespace: dict[str, object] = {}
    exec("from kvbm import *", namespace)  # noqa: S102  # a star belongs to the top of a module
    assert set(namespace) >= set(kvbm.__all__)
