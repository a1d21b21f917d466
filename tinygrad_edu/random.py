"""The one source of chance: initial weights, dropout and shuffling all draw from here, so one seed repeats a run."""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the random numbers anew: the same seed gives the same numbers."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The NumPy generator in use."""
    return _generator
