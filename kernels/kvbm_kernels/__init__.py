"""Numba CUDA kernels of the block manager: addresses in, bytes moved. Never imports `kvbm`."""
