"""What is known of objects without being kept in them: it goes when they go."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np

Note = TypeVar("Note")


class Notes(Generic[Note]):
    """Notes on objects, by identity, for as long as they live (the == of tensors and arrays compares elements)."""

    def __init__(self) -> None:
        self._notes: dict[int, tuple[weakref.ref[Any], Note]] = {}

    def __setitem__(self, thing: Any, note: Note) -> None:
        key = id(thing)
        reference, _ = self._notes.get(key, (None, None))
        if reference is None or reference() is not thing:
            reference = weakref.ref(thing, lambda _: self._notes.pop(key, None))
        self._notes[key] = reference, note

    def get(self, thing: Any) -> Note | None:
        """The note on this very object."""
        reference, note = self._notes.get(id(thing), (None, None))
        return note if reference is not None and reference() is thing else None

    def __iter__(self) -> Iterator[Any]:
        """The objects that are still alive."""
        alive = (reference() for reference, _ in list(self._notes.values()))
        return (thing for thing in alive if thing is not None)


def memory(array: Any) -> Any:
    """The array that owns the memory: it is the same for all views."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array
