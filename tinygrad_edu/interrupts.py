"""Ctrl-C between changes, never within one: what belongs together is changed wholly or not at all."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

# Python's own functions without the enums around them, which take most of the time.
_plain: Any = sys.modules.get("_signal", signal)
_get_handler: Callable[[int], Any] = _plain.getsignal
_set_handler: Callable[[int, Any], Any] = _plain.signal
_CTRL_C = int(signal.SIGINT)


class uninterrupted:
    """A block after whose end Ctrl-C has its effect; pressed a second time, it has it at once.

    Ctrl-C is held back where something would handle it, and in the main thread: Python handles signals in no other one.
    """

    __slots__ = ("handler", "waiting")

    def __enter__(self) -> None:
        self.handler, self.waiting = None, False
        if threading.current_thread() is threading.main_thread():
            handler = _get_handler(_CTRL_C)
            if callable(handler):
                self.handler = handler
                _set_handler(_CTRL_C, self._wait)

    def _wait(self, number: int, frame: Any) -> None:
        if self.waiting:
            self.handler(number, frame)  # type: ignore[misc]
        self.waiting = True

    def __exit__(self, *error: object) -> None:
        if self.handler is not None:
            _set_handler(_CTRL_C, self.handler)
            if self.waiting:
                self.handler(_CTRL_C, None)
