"""Mini-batches: a data set in small random pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_edu import random
from tinygrad_edu.errors import ShapeError


def batches(
    *arrays: Any,
    batch_size: int = 32,
    shuffle: bool = True,
    seed: int | np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Cut arrays of equal length into mini-batches, one pass over the data: yields a tuple with a piece of each array.

    shuffle: in random order, drawn from `seed` or, without one, from `te.manual_seed`'s numbers. An int gives the same
    order each time; pass a NumPy generator to get another order each epoch.
    drop_last: leave out the last batch if it is smaller than the others.

    >>> for x, y in batches([1, 2, 3], [10, 20, 30], batch_size=2, shuffle=False):
    ...     print(x, y)
    [1 2] [10 20]
    [3] [30]
    """
    try:
        data = [np.asarray(array) for array in arrays]
    except ValueError:
        raise ShapeError("batches: the samples of an array differ in shape, so they fit into no batch") from None
    if not data or any(array.ndim == 0 for array in data):
        raise ShapeError("batches: needs at least one array, each with an axis of samples")
    lengths = {len(array) for array in data}
    if len(lengths) > 1:
        raise ShapeError(f"batches: the arrays differ in length: {', '.join(str(len(array)) for array in data)}")
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batches: batch_size must be a whole number, at least 1, got {batch_size!r}")
    number = lengths.pop()
    generator = random.generator() if seed is None else np.random.default_rng(seed)
    order = generator.permutation(number) if shuffle else np.arange(number)
    stop = number - number % batch_size if drop_last else number
    return (tuple(array[order[i : i + batch_size]] for array in data) for i in range(0, stop, batch_size))
