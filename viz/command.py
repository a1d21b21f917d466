"""The command `python -m viz FILE.py:name`: run a script, then draw or tell what it computed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tinygrad_edu.tensor import Tensor
from viz.captions import LANGUAGES
from viz.drawing import Drawing, draw, steps
from viz.palette import THEMES
from viz.render import MissingEngineError
from viz.stepper import Steps

_PROGRAM = "python -m viz"
_WRONG, _STOPPED = 2, 130
_USAGE = """Run FILE.py as `python FILE.py` would, with __name__ == "__main__", and show how its tensor NAME (by default
loss) was computed and differentiated. Without --out, the steps are printed. Arguments after -- go to the script."""


class UserError(Exception):
    """Something that the user can put right, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(_WRONG, f"{self.prog}: {_one_line(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, 1 where the script failed, 2 where the command is wrong, 130 after Ctrl-C."""
    ours, theirs = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = _parser().parse_args(ours)
    try:
        return _run(options, theirs)
    except KeyboardInterrupt:
        print("\n" * sys.stderr.isatty() + f"{_PROGRAM}: stopped", file=sys.stderr)
        return _STOPPED
    except BrokenPipeError:  # such as `... | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, MissingEngineError, OSError, ValueError, TypeError, RuntimeError) as error:
        print(f"{_PROGRAM}: {_one_line(error)}", file=sys.stderr)
        return _WRONG


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and what comes after --."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, description=_USAGE)
    parser.add_argument("target", metavar="FILE.py[:NAME]", help="a script, and the name of a tensor in it")
    parser.add_argument("--steps", action="store_true", help="print the steps, fitted to the terminal")
    parser.add_argument("--out", metavar="FILE", help=f"write a picture: {', '.join(Drawing.suffixes)}")
    parser.add_argument("--theme", choices=("auto", *THEMES), default="auto", help="(%(default)s)")
    parser.add_argument("--depth", type=_depth, metavar="N", help="how many levels of modules are open (what fits)")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="(%(default)s)")
    return parser


def _depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    file, name = _target(options.target)
    out = Path(options.out) if options.out else None
    if out is not None and out.suffix.lower() not in Drawing.suffixes:
        raise UserError(f"--out {out.name}: must end in one of {', '.join(Drawing.suffixes)}")
    found = _run_script(file, arguments)
    if found is None:
        return 1
    root = _look_up(found, name, file)
    look: dict[str, Any] = {"names": found, "theme": options.theme, "depth": options.depth, "lang": options.lang}
    if out is not None:
        print(draw(root, **look).save(out), file=sys.stderr if options.steps else sys.stdout)
    if options.steps or out is None:
        _print(steps(root, **look))  # text needs no Graphviz
    return 0


def _print(page: Steps) -> None:
    """To a terminal in colour, unless NO_COLOR says otherwise (https://no-color.org); elsewhere plain."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = page.text(width=shutil.get_terminal_size().columns, colour=colour)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))  # a terminal may lack ∂
    sys.stdout.flush()


# The script ---------------------------------------------------------------------------------------------------------


def _target(text: str) -> tuple[Path, str]:
    """FILE.py:NAME in two; a drive letter is no file."""
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        file, name = text, ""
    if not file.endswith(".py"):
        raise UserError(f"expected FILE.py:NAME, such as train.py:loss, got {text!r}")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"there is no file {file}")
    return path, name or "loss"


def _run_script(path: Path, arguments: list[str]) -> dict[str, Any] | None:
    """The script's variables once it is through; None, and its own traceback printed, where it fails."""
    module = ModuleType("__main__")
    module.__file__ = str(path)
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    sys.argv, sys.modules["__main__"] = [str(path), *arguments], module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise UserError(f"{path} ended itself with {end.code!r}") from None
    except Exception as error:
        _print_traceback(error, path)
        return None
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = before
    return {key: value for key, value in vars(module).items() if not key.startswith("__")}


def _print_traceback(error: Exception, path: Path) -> None:
    """From the first line of the script on: how it was started is not its business."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
        trace = trace.tb_next
    traceback.print_exception(type(error), error.with_traceback(trace), trace)


def _look_up(found: dict[str, Any], name: str, file: Path) -> Tensor:
    """The tensor of this name, or an attribute of something, such as trainer.loss."""
    first, *rest = name.split(".")
    tensors = [key for key, value in found.items() if isinstance(value, Tensor)]
    if first not in found:
        near = get_close_matches(first, tensors, 1)
        hint = f"did you mean {near[0]}?" if near else f"its tensors: {', '.join(tensors[:8]) or 'none'}"
        raise UserError(f"{file} has no variable {first}; {hint}")
    value = found[first]
    for part in rest:
        if not hasattr(value, part):
            raise UserError(f"{file}: {name}: {type(value).__name__} has no attribute {part}")
        value = getattr(value, part)
    if not isinstance(value, Tensor):
        raise UserError(
            f"{file}: {name} is no Tensor but {type(value).__name__}; its tensors: {', '.join(tensors[:8])}"
        )
    return value


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
