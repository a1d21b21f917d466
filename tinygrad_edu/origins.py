"""Where a value comes from: the line of the user's program that made it, and where its history was cut off.

Both are kept outside of the graph, weakly: a note goes when its value goes.
"""

from __future__ import annotations

import linecache
import os
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from tinygrad_edu.autograd import Watcher, backward_order, state
from tinygrad_edu.autograd import describe as describe_value
from tinygrad_edu.notes import Notes
from tinygrad_edu.ops.elementwise import constant
from tinygrad_edu.ops.op import Op

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Line(NamedTuple):
    """A line of the user's program."""

    code: CodeType
    number: int

    def __str__(self) -> str:
        path = self.code.co_filename
        known = path.startswith("<") or os.path.exists(path)  # else linecache would look along sys.path
        text = linecache.getline(path, self.number).strip() if known else ""
        if not path.startswith("<") and Path(path).is_relative_to(Path.cwd()):
            path = str(Path(path).relative_to(Path.cwd()))
        return f"{path}:{self.number}{': ' if text else ''}{text}"


def user_line() -> Line | None:
    """The innermost line that is running outside of the engine."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_ENGINE):
        frame = frame.f_back
    return frame and Line(frame.f_code, frame.f_lineno)


class Cut(NamedTuple):
    """Why a value has no history although it was computed from something that requires a gradient."""

    reason: str  # empty where the cut came earlier
    line: Line | None
    sources: tuple[weakref.ref[Any], ...]  # what was cut off
    leaves: tuple[weakref.ref[Any], ...] | None  # what that was computed from, if somebody looked before it was gone
    before: tuple[Cut, ...]  # earlier cuts that lie behind this value

    def __str__(self) -> str:
        return self.reason + (f", at {self.line}" if self.line else "")


lines: Notes[Line] = Notes()
cuts: Notes[Cut] = Notes()


class record_lines(Watcher):
    """Inside, each op notes the line of your program that ran it, and where a history is cut off.

    The smallest op takes 1.3 µs, with its line 3.6: so lines are recorded only where they are asked for.

    >>> import tinygrad_edu as te
    >>> w = te.Tensor([1.0, 2.0], requires_grad=True)
    >>> with te.record_lines():
    ...     loss = (w * w).detach().sum()
    >>> te.why(w, loss).reasons[0]
    'detach() cut mul (2,) off, at <doctest tinygrad_edu.origins.record_lines[2]>:2: loss = (w * w).detach().sum()'
    """

    def applied(self, op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any) -> None:
        """Note the line, and the cut where one is."""
        line = user_line()
        if line is not None:
            lines[output] = line
        if not output.requires_grad:
            roots = [x for x in inputs if getattr(x, "requires_grad", False)]
            leaves = tuple(weakref.ref(x) for x in backward_order(roots) if x.op is None) if roots else ()
            note_cut(op, inputs, output, line, leaves)


def note_cut(
    op: Op,
    inputs: Sequence[Any],
    output: Any,
    line: Line | None = None,
    leaves: tuple[weakref.ref[Any], ...] | None = None,
) -> None:
    """Remember what lies behind a value that was not recorded, if a gradient could have flowed there."""
    if cuts.get(output) is not None:
        return  # a watcher that also knows the line was here first
    sources = tuple(weakref.ref(x) for x in inputs if getattr(x, "requires_grad", False))
    before = tuple(cut for cut in map(cuts.get, inputs) if cut is not None)
    if sources or before:
        cuts[output] = Cut(_reason(op, inputs, output) if sources else "", line, sources, leaves, before)


def _reason(op: Op, inputs: Sequence[Any], output: Any) -> str:
    scope = state.scope.get()
    where = f" in {scope.path}" if scope is not None and scope.path else ""
    if op is constant:
        return f"detach() cut {describe_value(inputs[0])} off{where}"
    if not op.differentiable or output._data.dtype.kind != "f":
        return f"{op.name} {output._data.shape}{where} gives {output._data.dtype} values that no gradient flows through"
    return f"{op.name} {output._data.shape}{where} ran under no_grad"


def where(value: Any) -> str:
    """` at FILE:LINE: CODE` for a value whose line was recorded, else nothing."""
    line = lines.get(value)
    return f" at {line}" if line else ""
