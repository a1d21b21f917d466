"""How a kernel walks through big arrays: a block of rows at a time, and the blocks shared among threads.

A kernel of ten lines on arrays of megabytes fetches them from memory ten times. In blocks that fit into the processor's
cache they come once. And as NumPy lets go of the interpreter while it computes, threads can work on blocks side by
side. Where a block begins never depends on the number of threads, so no result does.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

BLOCK = 1 << 16  # elements: 256 KiB in float32, so that a core's cache holds a few such blocks
SHARE = 6  # blocks for each thread: to wake one for less takes longer than it saves

# glibc gives the memory of a freed array back to the system, and then each page of the next array costs more than what
# is computed in it. Once it has seen an array of nearly 32 MiB (its limit) come and go, it keeps what is smaller.
np.empty(31 << 20, np.uint8)


def rows(x: Any) -> Any:
    """All axes but the last as one: (..., n) -> (N, n)."""
    return x if x.ndim == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])


def ones(length: int, dtype: Any) -> np.ndarray:
    """A vector of ones, to sum rows or columns by a product. It is not to be written to: short ones are kept."""
    return _ones(length, dtype) if length <= 1 << 14 else np.ones(length, dtype)


@lru_cache(maxsize=64)
def _ones(length: int, dtype: Any) -> np.ndarray:
    vector = np.ones(length, dtype)
    vector.flags.writeable = False
    return vector


def floats(x: Any) -> Any:
    """The array, or of integers and booleans the floats that NumPy's functions would make of them."""
    return x if x.dtype.kind == "f" else x.astype(np.result_type(x, np.float16))


def fits(*arrays: Any) -> bool:
    """Whether one block holds each of them."""
    return bool(max([x.size for x in arrays if x is not None]) <= BLOCK)


def walk(kernel: Callable[..., Any], *arrays: Any, axis: int = 0) -> None:
    """Call kernel(*blocks) for one block after the other of arrays that are equally long along an axis.

    The kernel writes its results into some of the blocks; it may be called from several threads at once. Any array but
    the first may be None, and stays so.

    >>> x, y = np.arange(100_000.0), np.empty(100_000)
    >>> walk(lambda x, y: np.multiply(x, x, out=y), x, y)
    >>> y[-1]
    np.float64(9999800001.0)
    """
    if fits(*arrays):
        kernel(*arrays)
        return
    size, length = max([x.size for x in arrays if x is not None]), arrays[0].shape[axis]
    step = -(-length // -(-size // BLOCK))  # both rounded up, and all blocks about equal
    cuts = [(slice(None),) * axis + (slice(i, i + step),) for i in range(0, length, step)]
    blocks = deque(tuple(None if x is None else x[cut] for x in arrays) for cut in cuts)
    helpers = max(min(_number, len(blocks) // SHARE), 1) - 1
    others: list[Future[None]] = []
    try:
        with contextlib.suppress(RuntimeError):  # when Python ends, no thread is started any more
            others.extend(_ready().submit(copy_context().run, _work, kernel, blocks) for _ in range(helpers))
        _work(kernel, blocks)
    finally:
        blocks.clear()  # where an error ended the work of this thread, it ends that of the others
        for other in others:
            if not other.cancel():  # too late, or it never came to its turn
                other.result()


def walk_rows(kernel: Callable[..., Any], inputs: tuple[Any, ...], outputs: Callable[[], Any]) -> Any:
    """The arrays that kernel(*inputs, *outputs) writes into and returns, a block of rows at a time.

    inputs: arrays (..., n) with the same rows. outputs: tells shape (..., n) and dtype of each new array. Where one
    block is enough the kernel gets none of them: like a function of NumPy, it then makes its own, which is quicker.
    """
    return _into_new(kernel, rows, inputs, outputs)


def walk_elements(kernel: Callable[..., Any], inputs: tuple[Any, ...], number: int = 1) -> Any:
    """The same with arrays of one shape, a block of elements at a time; the new ones are so many like the first."""
    return _into_new(kernel, _flat, inputs, lambda: [(inputs[0].shape, inputs[0].dtype)] * number)


def _into_new(
    kernel: Callable[..., Any], shaped: Callable[[Any], Any], inputs: tuple[Any, ...], outputs: Callable[[], Any]
) -> Any:
    first = inputs[0]
    if first.ndim and first.size <= BLOCK and first.dtype != np.float16:  # of which sums would come out as float32
        return kernel(*inputs)
    new = [np.empty(shape, dtype) for shape, dtype in outputs()]
    walk(kernel, *map(shaped, (*inputs, *new)))
    return new


def _flat(x: Any) -> Any:
    return x.reshape(-1)


def _work(kernel: Callable[..., Any], blocks: deque[Any]) -> None:
    while True:
        try:
            block = blocks.popleft()
        except IndexError:  # nothing is left
            return
        kernel(*block)


# The threads ---------------------------------------------------------------------------------------------------------


def _available() -> int:
    """As many threads as OMP_NUM_THREADS says, or else as there are cores for this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_number = _available()
_pool: ThreadPoolExecutor | None = None


def get_num_threads() -> int:
    """How many threads share the work of a kernel on big arrays."""
    return _number


def set_num_threads(number: int) -> None:
    """Let so many threads share the work of a kernel on big arrays; 1 starts none.

    At first it is OMP_NUM_THREADS, or else the number of cores. Matrix products are not affected: the threads of BLAS
    are set before Python starts, with OPENBLAS_NUM_THREADS or its like.
    """
    global _number
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"set_num_threads: expected a whole number from 1, got {number!r}")
    _number = number
    _forget()


def _ready() -> ThreadPoolExecutor:
    """The threads beside the one that asks, started when they are first needed."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_number - 1, thread_name_prefix="tinygrad_edu")
    return _pool


def _forget() -> None:
    """Threads that nobody refers to end by themselves; a forked process has none of its parent's."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
