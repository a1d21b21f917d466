"""How far a training is: a bar in a terminal if tqdm is there, else plain lines."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """Counts up to `total` from `done`, on standard error: a bar in a terminal, some ten lines anywhere else.

    >>> with Progress(3, stream=sys.stdout) as progress:
    ...     for loss in (0.5, 0.25, 0.125):
    ...         progress.step(f"loss {loss:.3f}")
    epoch 1/3  loss 0.500
    epoch 2/3  loss 0.250
    epoch 3/3  loss 0.125
    """

    def __init__(self, total: int, unit: str = "epoch", stream: TextIO | None = None, done: int = 0) -> None:
        self.total = total
        self.unit = unit
        self.done = done
        self.stream = stream or sys.stderr
        self.bar = _bar(total, unit, self.stream, done) if self.stream.isatty() else None

    def step(self, note: str = "") -> None:
        """One more is done; `note` says how it went."""
        self.done += 1
        if self.bar is not None:
            self.bar.set_description_str(note, refresh=False)
            self.bar.update()
        elif self.done in (1, self.total) or self.done % max(1, self.total // 10) == 0:
            print(f"{self.unit} {self.done}/{self.total}  {note}".rstrip(), file=self.stream, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()


def _bar(total: int, unit: str, stream: TextIO, done: int) -> Any | None:
    """A tqdm bar, or None without tqdm. What matters comes first: in a narrow terminal the end of the line is cut."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    form = f"{unit} {{n_fmt}}/{{total_fmt}}  {{desc}}  |{{bar}}| {{remaining}}"
    return tqdm(total=total, initial=done, file=stream, dynamic_ncols=True, bar_format=form)
