"""A debug mode that catches writes into the raw arrays of a graph: `te.lock_arrays`."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_edu.autograd import Watcher
from tinygrad_edu.errors import GraphError
from tinygrad_edu.ops.op import Op


@dataclass
class _Lock:
    array: np.ndarray
    graphs: int = 0  # how many recorded ops that are alive use it


class lock_arrays(Watcher):
    """Inside, no array of a graph can be written to: `t.data[0] = 5` raises at that line, not a wrong gradient later.

    Whatever is recorded in this thread locks the arrays that it computed from and what it computed; they are free again
    when the graph dies or the block ends. NumPy itself raises, "ValueError: assignment destination is read-only"; where
    that leaves the block, it becomes a GraphError that says what to do. What is meant to change parameters still does:
    optimizers, `load_state_dict`, nn.init.

    >>> import tinygrad_edu as te
    >>> x = te.Tensor([1.0, 2.0], requires_grad=True)
    >>> with te.lock_arrays():
    ...     y = (x * x).sum()
    ...     x.data[0] = 5.0
    Traceback (most recent call last):
        ...
    tinygrad_edu.errors.GraphError: an array of a graph was written to, ...
    """

    def __init__(self) -> None:
        self._locks: dict[int, _Lock] = {}

    def applied(self, op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any) -> None:
        """Lock what a recorded op computed from, and what it computed."""
        if output.op is None:
            return
        output._data = np.asarray(output._data)  # of a NumPy scalar, t.data would be another array each time
        arrays = (output._data, *output.arrays, *output.saved)
        mine = {id(array): array for each in arrays if isinstance(each, np.ndarray) for array in _owners(each)}
        locks = [lock for lock in map(self._lock, mine.values()) if lock is not None]
        weakref.finalize(output, self._release, locks).atexit = False

    def _lock(self, array: np.ndarray) -> _Lock | None:
        """The lock of the array; None if it was read-only before."""
        lock = self._locks.get(id(array))
        if lock is None:
            if not array.flags.writeable and id(array.base) not in self._locks:
                return None
            lock = self._locks[id(array)] = _Lock(array)
            array.flags.writeable = False
        lock.graphs += 1
        return lock

    def _release(self, locks: list[_Lock]) -> None:
        """A recorded op is gone."""
        for lock in locks:
            lock.graphs -= 1
            if not lock.graphs:
                self._unlock(lock)

    def _unlock(self, lock: _Lock) -> None:
        if self._locks.get(id(lock.array)) is lock:
            del self._locks[id(lock.array)]
            with contextlib.suppress(ValueError):  # a view of what is locked still
                lock.array.flags.writeable = True

    def changed(self, array: np.ndarray) -> None:
        """An optimizer or the like is about to write: that is meant, and what would be wrong by it is told later."""
        for each in _owners(array):
            lock = self._locks.get(id(each))
            if lock is not None:
                self._unlock(lock)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for lock in sorted(self._locks.values(), key=lambda lock: len(list(_owners(lock.array)))):
            self._unlock(lock)  # owners before their views
        raised = error[1] if error else None
        if isinstance(raised, ValueError) and "read-only" in str(raised):
            raise GraphError(
                f"an array of a graph was written to, which would make its gradient wrong ({raised}, in the traceback "
                "above): build a new one with te.where or te.concatenate, or write when the graph is gone"
            ) from raised


def _owners(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array that owns the memory, then its views down to this one."""
    if isinstance(array.base, np.ndarray):
        yield from _owners(array.base)
    yield array
