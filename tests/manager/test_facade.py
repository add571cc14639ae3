"""The documented Python page: defaults, blocks as sequences of layers, arrays, and their ends."""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys

import numpy as np
import pytest

from kvbm.errors import (
    BlockNotComplete,
    CudaUnavailable,
    InvalidConfig,
    InvalidLayerIndex,
    KvbmError,
    NoSuchTier,
    NotContiguous,
    NotEnoughBlocksAvailable,
    ProgressEngineShutdown,
    StaleHandleError,
)
from kvbm.facade import DEFAULT_BLOCKS, Block, BlockManager
from kvbm.facade import manager as module
from kvbm.identity import TokenBlockSequence
from kvbm.layout import DType, LayerView, LayoutConfig, LayoutType, Paged
from kvbm.pool import BlockPool
from kvbm.storage import SystemAllocator

VERSIONED = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0",
    reason="NumPy takes no read-only memory by DLPack before 2.1",
)


@pytest.fixture
def manager():
    with BlockManager(3, 4, 8, num_device_blocks=4, num_host_blocks=2) as made:
        yield made


def prompt(count):
    return TokenBlockSequence(range(4 * count), block_size=4)


# ── the manager ───────────────────────────────────────────────────────────────────────────


def test_the_documented_signature():
    parameters = inspect.signature(BlockManager).parameters
    positional = [name for name, one in parameters.items() if one.kind is not one.KEYWORD_ONLY]
    assert positional == ["num_layers", "page_size", "inner_dim", "dtype", "device_id"]
    assert parameters["dtype"].default is DType.FP16
    assert parameters["device_id"].default == 0


def test_the_defaults():
    with BlockManager(2, 16, 8) as manager:
        assert manager.block_size == 16
        assert manager.get_device_pool().total_blocks() == DEFAULT_BLOCKS
        assert manager.get_host_pool().total_blocks() == DEFAULT_BLOCKS
        model = manager.manager.config.model
        assert (model.outer_dim, model.dtype) == (2, DType.FP16)
        assert manager.get_device_pool() is manager.get_device_pool()


def test_what_is_said_is_what_there_is():
    with BlockManager(
        2, 16, 8, DType.FP32, 3, outer_dim=1, num_device_blocks=5, num_host_blocks=7,
        device="emulated",
    ) as manager:  # fmt: skip
        assert manager.get_device_pool().total_blocks() == 5
        assert manager.get_host_pool().total_blocks() == 7
        [storage] = manager.manager.layout("device").memories
        assert repr(storage.storage_type) == "Device(3)"
        assert manager.allocate_blocks(1)[0].shape == (2, 1, 16, 8)
        assert manager.device == "emulated"
        assert repr(manager) == (
            "BlockManager(KvBlockManager(worker 0: device 5, host 7), device emulated)"
        )


def test_without_cuda_auto_is_emulated_and_cuda_is_refused(monkeypatch):
    def missing(device_id):
        raise CudaUnavailable(device_id, "there is none")

    real = module.DeviceAllocator
    monkeypatch.setattr(module, "DeviceAllocator", missing)
    monkeypatch.setattr(missing, "emulated", real.emulated, raising=False)
    with BlockManager(1, 4, 8) as manager:
        assert manager.device == "emulated"
    with pytest.raises(CudaUnavailable):
        BlockManager(1, 4, 8, device="cuda")


def test_with_cuda_auto_takes_it_and_emulated_does_not(monkeypatch):
    made = []

    class Cuda:
        def __init__(self, device_id):
            made.append(device_id)

        def allocate(self, size):
            return SystemAllocator().allocate(size)

    Cuda.emulated = module.DeviceAllocator.emulated
    monkeypatch.setattr(module, "DeviceAllocator", Cuda)
    for device, expected in (("auto", "cuda"), ("cuda", "cuda"), ("emulated", "emulated")):
        with BlockManager(1, 4, 8, device_id=2, device=device) as manager:
            assert manager.device == expected
    assert made == [2, 2]


@pytest.mark.parametrize(
    ("field", "given"),
    [("num_layers", 0), ("page_size", -1), ("inner_dim", 2.5), ("dtype", "fp16"),
     ("outer_dim", 3), ("num_blocks", 0), ("device", "gpu"), ("device_id", -1)],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(field, given):
    arguments = {"num_layers": 1, "page_size": 4, "inner_dim": 8}
    arguments["num_host_blocks" if field == "num_blocks" else field] = given
    with pytest.raises(InvalidConfig, match=field):
        BlockManager(**arguments)


def test_no_blocks_is_no_pool():
    with BlockManager(1, 4, 8, num_device_blocks=None, num_host_blocks=2) as manager:
        assert manager.get_device_pool() is None
        with pytest.raises(NoSuchTier, match="there is no tier device; configured are: host"):
            manager.allocate_blocks(1)
    with BlockManager(1, 4, 8, num_host_blocks=None) as manager:
        assert manager.get_host_pool() is None


def test_closing_ends_everything_and_a_pool_keeps_its_manager():
    manager = BlockManager(1, 4, 8)
    pool = manager.get_device_pool()
    del manager
    gc.collect()
    with pool.allocate_blocks(1) as blocks:
        assert blocks[0][0].numpy().shape == (2, 4, 8)
    manager = BlockManager(1, 4, 8)
    manager.close()
    manager.close()
    with pytest.raises(ProgressEngineShutdown):
        manager.allocate_blocks(1)


PROGRAM = """
from kvbm import BlockManager
manager = BlockManager(3, 4, 8)
pool = manager.get_device_pool()
blocks = pool.allocate_blocks(2)
blocks.stage([1, 2])
cached = pool.register_blocks(blocks)
array = cached[0][0].numpy()
other = BlockManager(3, 4, 8)
other.close()
print("done")
"""


@pytest.mark.clause("KV-SHD-01")
def test_a_program_that_closes_nothing_ends_without_a_word():
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_manager_that_is_gone_is_not_kept_for_the_end_of_the_program():
    manager = BlockManager(1, 4, 8)
    at_exit = manager.manager._at_exit
    assert at_exit.alive
    manager.close()
    assert not at_exit.alive
    manager = BlockManager(1, 4, 8)
    at_exit = manager.manager._at_exit
    del manager
    gc.collect()
    assert not at_exit.alive


# ── pools and lists ───────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-LIF-06")
def test_blocks_go_back_at_the_end_of_with(manager):
    pool = manager.get_device_pool()
    with manager.allocate_blocks(3) as blocks:
        assert (len(blocks), blocks.block_ids) == (3, [0, 1, 2])
        assert (pool.available_blocks(), pool.usage()) == (1, 0.75)
        assert [block.block_id for block in blocks] == blocks.block_ids
        assert [type(block) for block in blocks.to_list()] == [Block] * 3
        assert [block.block_id for block in blocks[1:]] == [1, 2]
        assert [type(block) for block in blocks[1:]] == [Block] * 2
        assert blocks[-1].block_id == 2
    assert pool.usage() == 0.0
    with pytest.raises(StaleHandleError):
        blocks.release()
    with pytest.raises(StaleHandleError), blocks:
        pass


@pytest.mark.clause("KV-LIF-06")
def test_dropped_blocks_are_back_for_the_next_call(manager):
    pool = manager.get_device_pool()
    blocks = manager.allocate_blocks(4)
    one = blocks[0]
    del blocks
    gc.collect()
    assert pool.usage() == 0.25, "a block that was taken out lives on"
    layer = one[1]
    del one
    assert pool.usage() == 0.25, "its layer keeps it"
    array = layer.numpy()
    del layer
    assert pool.usage() == 0.25, "its array keeps it"
    capsule = np.from_dlpack(manager.allocate_blocks(1)[0][0])
    assert pool.usage() == 0.5, "and so does what was exported"
    del array, capsule
    assert pool.usage() == 0.0


def test_the_fallback_of_the_documents(manager):
    held = manager.allocate_blocks(4)
    with pytest.raises(NotEnoughBlocksAvailable) as refused:
        manager.allocate_blocks(2)
    assert isinstance(refused.value, KvbmError)
    assert (refused.value.requested, refused.value.available) == (2, 0)
    blocks = manager.get_host_pool().allocate_blocks(2)
    assert blocks[0][0].shape == held[0][0].shape
    assert manager.get_host_pool().usage() == 1.0


@pytest.mark.clause("KV-REG-01", "KV-CAP-08")
def test_register_and_match(manager):
    pool = manager.get_device_pool()
    blocks = pool.allocate_blocks(2)
    with pytest.raises(BlockNotComplete):
        pool.register_blocks(blocks)
    with pytest.raises(KvbmError, match="not complete"):
        blocks[0].sequence_hash()
    blocks.apply_token_blocks(prompt(2).blocks)
    before = blocks[1]
    before[2].numpy()[:] = 7
    cached = pool.register_blocks(blocks)
    assert repr(blocks) == "Blocks(BlockList[MutableBlock](used up))"
    assert cached.sequence_hashes() == prompt(2).sequence_hashes
    assert [block.sequence_hash() for block in cached] == cached.sequence_hashes()
    with pytest.raises(StaleHandleError):
        before.numpy()
    assert (cached[1][2].numpy() == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        cached[1][2].numpy()[:] = 8
    cached.release()
    found = pool.match_sequence_hashes(prompt(3).sequence_hashes)
    assert found.block_ids == [0, 1]
    assert (found[1][2].numpy() == 7).all()


def test_blocks_may_be_registered_one_by_one(manager):
    pool = manager.get_device_pool()
    blocks = pool.allocate_blocks(2)
    blocks.stage([7, 8], parent=6, position=1)
    first, second = blocks
    assert pool.register_blocks([first, second]).sequence_hashes() == [7, 8]
    [block] = pool.match_sequence_hashes([8])
    assert (block.handle.parent_sequence_hash(), block.handle.position) == (7, 2)
    block.release()
    with pytest.raises(StaleHandleError):
        block.release()


def test_an_asynchronous_caller_gets_the_same(manager):
    async def main():
        blocks = await manager.allocate_blocks(2)
        blocks.stage([1, 2])
        pool = manager.get_device_pool()
        cached = await pool.register_blocks(blocks)
        cached.release()
        return len(await pool.match_sequence_hashes([1, 2, 3]))

    assert asyncio.run(main()) == 2


# ── a block is a sequence of its layers ───────────────────────────────────────────────────


@pytest.mark.clause("KV-INT-01")
def test_a_block_is_a_sequence_of_its_layers(manager):
    [block] = manager.allocate_blocks(1)
    assert len(block) == 3
    assert [type(layer) for layer in block] == [LayerView] * 3
    assert block.shape == (3, 2, 4, 8)
    assert block.dtype is DType.FP16
    for number, layer in enumerate(block.to_list()):
        assert layer.shape == (2, 4, 8)
        assert layer.dtype is DType.FP16
        layer.numpy()[0] = number
        layer.numpy()[1] = number + 10
    assert block.numpy()[:, :, 0, 0].tolist() == [[0, 10], [1, 11], [2, 12]]
    assert np.asarray(block)[2, 1, 3, 7] == 12
    assert (block[-1].numpy() == block[2].numpy()).all()
    assert [layer.layer for layer in block[1:]] == [1, 2]
    assert (block.layer_view(1, 1).numpy() == 11).all()
    assert len(block.layer_view(1, 1)) == 4 * 8 * 2, "a view's length is in bytes"
    with pytest.raises(InvalidLayerIndex):
        block[3]


def test_numpy_takes_blocks_and_layers_by_dlpack_without_a_copy(manager):
    [block] = manager.allocate_blocks(1)
    whole = np.from_dlpack(block)
    assert (whole.shape, whole.dtype) == ((3, 2, 4, 8), np.float16)
    layer = np.from_dlpack(block[1])
    layer[...] = 5
    assert (whole[1] == 5).all()
    assert (whole[0] == 0).all()
    assert block.__dlpack_device__() == block[1].__dlpack_device__() == (1, 0)
    assert "dltensor" in repr(block[1].__dlpack__())


@VERSIONED
def test_a_capsule_says_what_it_was_asked(manager):
    [block] = manager.allocate_blocks(1)
    capsule = block.__dlpack__(stream=None, max_version=(1, 0), dl_device=(1, 0), copy=True)
    assert "dltensor_versioned" in repr(capsule)
    for wrong in ({"stream": 1}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError):
            block.__dlpack__(**wrong)


@VERSIONED
def test_a_registered_block_goes_out_read_only(manager):
    pool = manager.get_device_pool()
    blocks = pool.allocate_blocks(1)
    blocks.stage([1])
    [block] = pool.register_blocks(blocks)
    assert not np.from_dlpack(block[0]).flags.writeable
    with pytest.raises(BufferError):
        block[0].__dlpack__()


def test_a_layer_that_is_taken_as_a_capsule_lives_in_torch_too(manager):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    [block] = manager.allocate_blocks(1)
    tensor = torch.from_dlpack(block[1])
    tensor.fill_(3)
    assert (block[1].numpy() == 3).all()
    assert torch.from_dlpack(block[1].__dlpack__()).shape == (2, 4, 8)


@pytest.mark.clause("KV-INT-01")
def test_outer_first_memory_is_shown_by_its_true_strides_or_not_at_all():
    config = LayoutConfig(3, 2, 2, 4, 8)
    pool = BlockPool(3, page_size=4)
    layout = Paged(config, outer_contiguous=True)
    memories = [SystemAllocator().allocate(size) for size in layout.required_sizes()]
    pool.memory = layout.bind(memories)
    blocks = pool.allocate_blocks(3)
    for number, handle in enumerate(blocks):
        for outer in range(2):
            handle.layer_view(1, outer).numpy()[:] = 10 * number + outer
    for number, handle in enumerate(blocks):
        block = Block(handle)
        seen = np.from_dlpack(block[1])
        assert seen[:, 0, 0].tolist() == [10 * number, 10 * number + 1]
        for refused in (block.numpy, block.__dlpack__):
            with pytest.raises(NotContiguous, match="use its layers"):
                refused()
    assert layout.kind is LayoutType.Paged


def test_a_block_and_its_layers_end_with_their_list(manager):
    blocks = manager.allocate_blocks(1)
    block, layer = blocks[0], blocks[0][0]
    blocks.release()
    for use in (block.numpy, layer.numpy, lambda: block[0], lambda: block.block_id):
        with pytest.raises(StaleHandleError):
            use()
    assert len(block) == 3
    assert repr(block) == "Block(MutableBlock(block 0, used up))"
    assert repr(blocks) == "Blocks(BlockList[MutableBlock](used up))"
