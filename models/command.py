"""What all commands share: an error is one line, arguments are checked as they are read, files are replaced whole."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tinygrad_edu.errors import FormatError
from tinygrad_edu.files import read

INSTALL = 'pip install "tinygrad_edu[demo]"'
MAX_JSON = 2**28  # bytes; more is no JSON file of ours
STOPPED = 130  # the exit code of a command that Ctrl-C or SIGTERM ended: 128 + SIGINT


class UserError(ValueError):
    """Something that the user can put right. A command prints it as one line, without a traceback."""


class Parser(argparse.ArgumentParser):
    """Argparse, with an error of one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")


def one_line(error: object) -> str:
    """An error's text on one line, whatever is in it."""
    return " ".join(str(error).split()) or type(error).__name__


def run(parser: Parser, arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, call `options.run(options)`, and turn what goes wrong into one line and an exit code."""
    options = parser.parse_args(arguments)
    try:
        with stoppable():
            code: int = options.run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\n" * sys.stderr.isatty() + f"{parser.prog}: stopped", file=sys.stderr)  # a terminal shows ^C before it
        return STOPPED
    except BrokenPipeError:  # such as `... | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print(f"{parser.prog}: not enough memory for a model of this size", file=sys.stderr)
        return 1
    except (UserError, OSError) as error:
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM, by which systems ask a process to end, does whatever Ctrl-C does at the time."""

    def as_ctrl_c(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # Ctrl-C is ignored, as in the background of a shell
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    if threading.current_thread() is not threading.main_thread():  # no other thread may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, as_ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Inside, an unreadable or senseless file and a missing package become errors of the user's to put right."""
    try:
        yield
    except (FormatError, ImportError, OSError) as error:
        raise UserError(one_line(error)) from None


# Arguments ---------------------------------------------------------------------------------------------------------


def whole_number(minimum: int) -> Callable[[str], int]:
    """An argument type: an integer that is at least `minimum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}, got {text!r}")
        return number

    return parse


def positive(text: str) -> float:
    """An argument type: a number above zero."""
    return _number(text, "above 0", lambda number: 0 < number < math.inf)


def share(text: str) -> float:
    """An argument type: a number from 0 up to, but without, 1."""
    return _number(text, "from 0 to below 1", lambda number: 0 <= number < 1)


def _number(text: str, what: str, fine: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fine(number):
        raise argparse.ArgumentTypeError(f"expected a number {what}, got {text!r}")
    return number


def sizes(text: str) -> tuple[int, ...]:
    """An argument type: layer sizes such as `64,32`; an empty text is no layer at all."""
    try:
        numbers = tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        numbers = (0,)
    if not all(1 <= number <= 1_000_000 for number in numbers):
        raise argparse.ArgumentTypeError(f"expected layer sizes such as 64,32, got {text!r}")
    return numbers


# Files -------------------------------------------------------------------------------------------------------------


def output_folder(path: str) -> Path:
    """The folder, made if it is not there; an error now rather than after the training."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write into {path}: it is a file, not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UserError(f"cannot write into {path}: {error.strerror}") from None


def read_json(path: Path) -> Any:
    """What is in a JSON file. One that cannot be read or is no JSON is a UserError."""
    with user_errors():
        return parse_json(read(path, MAX_JSON), str(path))


def parse_json(content: bytes, where: str) -> Any:
    """What is in the content of a JSON file; `where` is what errors call it."""
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or JSON that is nested without end
        raise UserError(f"{where} is no JSON file: {one_line(error):.120}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


# Results -----------------------------------------------------------------------------------------------------------


class Results:
    """Writes files into a folder, and remembers what to look at. One that fails costs a line, not the others."""

    def __init__(self, folder: Path, prog: str) -> None:
        self.folder, self.prog = folder, prog
        self.written: list[tuple[Path, str]] = []
        self.failed = 0

    def add(self, name: str, look: str, write: Callable[[Path], Path | None]) -> None:
        """Let `write` make the file; it returns a path where it wrote another one than it was asked to."""
        path = self.folder / name
        try:
            self.written.append((write(path) or path, look))
        except (UserError, OSError, ImportError, RuntimeError) as error:
            self.failed += 1
            print(f"{self.prog}: no {name}: {one_line(error)}", file=sys.stderr)

    def show(self) -> None:
        """Print what was written, fitted to the terminal."""
        print("wrote")
        width = max(40, shutil.get_terminal_size().columns)
        for path, look in self.written:
            print(f"  {path}")
            print(textwrap.fill(look, width, initial_indent="      ", subsequent_indent="      "))
