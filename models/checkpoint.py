"""Checkpoints: everything that a training run is, in a folder that is either complete or not there.

A run's folder holds `checkpoint-000001/` and so on; the highest number counts. A new one is written under another name,
forced onto the disk, and then renamed, which happens at once or not at all: whenever the process is killed or the power
fails, the last complete checkpoint is there. What is read is not trusted: no pickle anywhere, every name, shape, type
and number is checked, and nothing is changed before everything has been.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from models.command import MAX_JSON, UserError, one_line, parse_json, user_errors
from models.tokenizer import Tokenizer
from models.transformer import Transformer, TransformerConfig
from tinygrad_edu import random, serialize
from tinygrad_edu.files import read, sync
from tinygrad_edu.optim import Optimizer, Schedule

MODEL, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
OPTIMIZER, STATE, CHECKSUMS = "optimizer.safetensors", "state.json", "checksums.json"
FINISHED, WRITING, OLD = "checkpoint-", ".writing-", ".old-"
MAX_POSITIONS = 2**26  # numbers in a table of positions, which no array in the file vouches for

Settings = TypeVar("Settings")


@dataclass
class Record:
    """What a run remembers besides its arrays."""

    settings: dict[str, Any]  # how the run was started
    text: str  # SHA-256 of the text, so that a run goes on with the same one
    losses: list[float] = field(default_factory=list)  # of each step
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.losses)


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a folder, checked."""

    folder: Path
    model: Transformer
    tokenizer: Tokenizer
    record: Record
    state: dict[str, Any]  # the rest of state.json
    moments: dict[str, np.ndarray] | None  # the optimizer's arrays, if they were asked for

    def resume(self, optimizer: Optimizer, schedule: Schedule) -> None:
        """Let an optimizer of this model, its schedule and the random numbers go on where they stopped."""
        if self.moments is None:
            raise ValueError("resume: the checkpoint was loaded without its optimizer: load(path, training=True)")
        state = _moments_by_parameter(self.model, self.moments, self.record.step, f"{self.folder / OPTIMIZER}")
        where = str(self.folder / STATE)
        schedule_state = matched(self.state.get("schedule"), schedule.state_dict(), f"{where}: schedule")
        if schedule_state["steps"] != self.record.step:
            raise UserError(f"{where}: the schedule is at step {schedule_state['steps']}, not {self.record.step}")
        random_state = _random_state(self.state.get("random"), f"{where}: random")
        groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.groups]
        optimizer.load_state_dict({"steps": self.record.step, "groups": groups, "state": state})
        schedule.load_state_dict(schedule_state)
        random.generator().bit_generator.state = random_state


# Writing -------------------------------------------------------------------------------------------------------------


def save(
    run: Path, model: Transformer, tokenizer: Tokenizer, optimizer: Optimizer, schedule: Schedule, record: Record
) -> Path:
    """Write the next checkpoint of a run; when it is complete, the ones before it go."""
    names = [name for name, _ in model.named_parameters()]
    moments = {f"{name}.{key}": a for name, s in zip(names, optimizer.state, strict=True) for key, a in s.items()}
    state = {
        "step": record.step,
        **dataclasses.asdict(record),
        "schedule": schedule.state_dict(),
        "random": random.generator().bit_generator.state,
    }
    files = {
        MODEL: serialize.pack(model.state_dict()),
        CONFIG: _dump(dataclasses.asdict(model.config)),
        TOKENIZER: _dump(tokenizer.to_json()),
        OPTIMIZER: serialize.pack(moments),
        STATE: _dump(state),
    }
    files[CHECKSUMS] = _dump({name: _digest(content) for name, content in files.items()})
    folder = _write(run, files)
    clean(run)
    return folder


def _write(run: Path, files: Mapping[str, bytes]) -> Path:
    """Put the files into a new folder that gets its name when they are all on the disk."""
    last = newest(run)
    number = _number(last) + 1 if last else 1
    writing, folder = run / f"{WRITING}{number:06d}", run / f"{FINISHED}{number:06d}"
    _remove(writing)
    writing.mkdir(parents=True)
    try:
        for name, content in files.items():
            with open(writing / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync(writing)
        os.rename(writing, folder)
        sync(run)
    except BaseException:
        _remove(writing)
        raise
    return folder


def clean(run: Path) -> None:
    """Remove what is not needed any more: older checkpoints, and what was left when a process was killed."""
    last = newest(run)
    for folder in _numbered(run):
        if folder != last:  # first another name: half a checkpoint must not look like one
            old = run / f"{OLD}{_number(folder):06d}"
            _remove(old)
            with contextlib.suppress(OSError):  # on Windows it keeps its name while somebody reads it
                os.rename(folder, old)
    for folder in run.iterdir():
        if re.fullmatch(rf"({re.escape(WRITING)}|{re.escape(OLD)})\d+", folder.name):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Delete a folder if that is possible; if not, the next `clean` tries again."""
    shutil.rmtree(folder, ignore_errors=True)


def _dump(data: Any) -> bytes:
    return json.dumps(data, indent=1, allow_nan=False).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Finding -------------------------------------------------------------------------------------------------------------


def newest(run: Path) -> Path | None:
    """The last complete checkpoint of a run, if there is one."""
    return max(_numbered(run), key=_number, default=None)


def _numbered(run: Path) -> list[Path]:
    if not run.is_dir():
        return []
    return [path for path in run.iterdir() if re.fullmatch(rf"{FINISHED}\d+", path.name) and path.is_dir()]


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix(FINISHED))


def find(path: Path) -> Path:
    """The checkpoint meant by a path: the folder itself, or the newest in a run's folder."""
    if not path.exists():
        raise UserError(f"there is no folder {path}")
    folder = path if (path / MODEL).exists() else newest(path)
    if folder is None:
        raise UserError(f"{path} holds no checkpoint; `python -m models.train transformer --out {path}` makes one")
    return folder


# Reading -------------------------------------------------------------------------------------------------------------


def load(path: Path, training: bool = False) -> Checkpoint:
    """Read and check a checkpoint, from its own or its run's folder; `training` reads the optimizer's arrays too."""
    names = [MODEL, CONFIG, TOKENIZER, STATE, *([OPTIMIZER] if training else [])]
    folder = find(path)
    try:
        files = _read(folder, names)
    except FileNotFoundError:
        if find(path) == folder:
            raise
        folder = find(path)  # a training run has put a newer one in its place just now
        files = _read(folder, names)
    tokenizer = _tokenizer(files[TOKENIZER], f"{folder / TOKENIZER}")
    config = settings_from(TransformerConfig, _parse(files[CONFIG], f"{folder / CONFIG}"), f"{folder / CONFIG}")
    with user_errors():
        arrays = serialize.unpack(files[MODEL], f"{folder / MODEL}")
        moments = serialize.unpack(files[OPTIMIZER], f"{folder / OPTIMIZER}") if training else None
    model = _model(config, arrays, f"{folder / MODEL}")
    if tokenizer.vocab_size != config.vocab_size:
        raise UserError(f"{folder / TOKENIZER} has {tokenizer.vocab_size} tokens, the model {config.vocab_size}")
    state = _parse(files[STATE], f"{folder / STATE}")
    return Checkpoint(folder, model, tokenizer, _record(state, f"{folder / STATE}"), state, moments)


def _read(folder: Path, names: list[str]) -> dict[str, bytes]:
    """The content of the files, if it is what was once written."""
    sums = _parse(_content(folder / CHECKSUMS), f"{folder / CHECKSUMS}")
    files = {name: _content(folder / name) for name in names}
    for name, content in files.items():
        if sums.get(name) != _digest(content):
            raise UserError(f"{folder / name} is damaged: it is not the file that was saved")
    return files


def _content(path: Path) -> bytes:
    try:
        return read(path, MAX_JSON if path.suffix == ".json" else None)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} is no complete checkpoint: {path.name} is missing") from None


def _parse(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object."""
    data = parse_json(content, where)
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(data).__name__}")
    return data


def _tokenizer(content: bytes, where: str) -> Tokenizer:
    try:
        return Tokenizer.from_json(_parse(content, where))
    except UserError as error:
        raise UserError(str(error) if where in str(error) else f"{where}: {error}") from None


# Checking ------------------------------------------------------------------------------------------------------------


def settings_from(kind: type[Settings], data: Mapping[str, Any], where: str) -> Settings:
    """A dataclass from JSON: all fields there and no others, each of its type, and numbers finite."""
    hints = typing.get_type_hints(kind)
    missing, unexpected = [n for n in hints if n not in data], [n for n in data if n not in hints]
    if missing or unexpected:
        raise UserError(f"{where}: {_listed(missing=missing, unexpected=unexpected)}")
    for name, hint in hints.items():
        if not _fits(data[name], hint):
            raise UserError(f"{where}: {name} must be {_spoken(hint)}, got {data[name]!r:.40}")
    try:
        return kind(**data)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: {one_line(error)}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of the type; True is no number here."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return value in options
    if options:  # int | None
        return any(_fits(value, option) for option in options)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _spoken(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


def _listed(**names: list[str]) -> str:
    """Kinds of complaints with the names that they are about."""
    short = {
        kind: ", ".join(each[:5]) + (f" and {len(each) - 5} more" if len(each) > 5 else "")
        for kind, each in names.items()
    }
    return "; ".join(f"{kind.replace('_', ' ')}: {one_line(text):.400}" for kind, text in short.items() if text)


def matched(value: Any, example: Any, where: str) -> Any:
    """A JSON value that is built like the example: the same keys and lengths, numbers where numbers are."""
    if isinstance(example, dict):
        if not isinstance(value, dict) or set(value) != set(example):
            raise UserError(f"{where}: expected the keys {', '.join(example)}")
        return {key: matched(value[key], example[key], f"{where}.{key}") for key in example}
    if isinstance(example, list):
        if not isinstance(value, list) or len(value) != len(example):
            raise UserError(f"{where}: expected a list of {len(example)}")
        return [matched(v, e, f"{where}[{i}]") for i, (v, e) in enumerate(zip(value, example, strict=True))]
    if not _fits(value, type(example)):
        raise UserError(f"{where}: expected {_spoken(type(example))}, got {value!r:.40}")
    return value


def _model(config: TransformerConfig, arrays: dict[str, np.ndarray], where: str) -> Transformer:
    """The model with these weights. Made-up sizes might fill the memory, so they are checked before it is built."""
    total, E = sum(array.size for array in arrays.values()), config.embed_dim
    positions = total if config.positional == "learned" else MAX_POSITIONS
    limits = {
        "vocab_size": (config.vocab_size * E, total),
        "num_layers": (config.num_layers, len(arrays)),  # each has arrays of its own
        "mlp_ratio": (config.num_layers * config.mlp_ratio * E * E, total),
        "context_length": (config.context_length * E, positions),
    }
    wrong = [name for name, (claimed, limit) in limits.items() if claimed > limit]
    if wrong:
        raise UserError(f"{where}: its {total:,} numbers are too few for the {' and '.join(wrong)} in {CONFIG}")
    model = Transformer(config)
    check_arrays(arrays, model.state_dict(), where)
    model.load_state_dict(arrays)
    return model


def check_arrays(arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], where: str) -> None:
    """The same names, shapes and types as expected, and only finite numbers; else one error that lists what is not."""
    both = [(name, arrays[name], wanted) for name, wanted in expected.items() if name in arrays]
    complaints = _listed(
        missing=[name for name in expected if name not in arrays],
        unexpected=[name for name in arrays if name not in expected],
        wrong_shape=[f"{name} {a.shape} instead of {e.shape}" for name, a, e in both if a.shape != e.shape],
        wrong_type=[f"{name} {a.dtype} instead of {e.dtype}" for name, a, e in both if a.dtype != e.dtype],
        not_finite=[name for name, a, _ in both if a.dtype.kind == "f" and not np.isfinite(a).all()],
    )
    if complaints:
        raise UserError(f"{where} does not fit the model; {complaints}")


def _moments_by_parameter(
    model: Transformer, arrays: dict[str, np.ndarray], steps: int, where: str
) -> list[dict[str, np.ndarray]]:
    """Adam's m, v and t of each parameter, in the optimizer's order; none at all before the first step."""
    parameters = dict(model.named_parameters()) if steps else {}
    count = np.zeros((), np.int64)
    expected = {
        f"{name}.{key}": count if key == "t" else p.data for name, p in parameters.items() for key in ("m", "v", "t")
    }
    check_arrays(arrays, expected, where)
    for name in parameters:
        if not 1 <= arrays[f"{name}.t"] <= steps or (arrays[f"{name}.v"] < 0).any():
            raise UserError(f"{where}: {name} has been squared to less than 0, or stepped more than {steps} times")
    return [{key: arrays[f"{name}.{key}"] for key in ("m", "v", "t")} for name in parameters] or [
        {} for _ in model.parameters()
    ]


def _record(state: dict[str, Any], where: str) -> Record:
    settings, text, losses, validation = (state.get(name) for name in ("settings", "text", "losses", "validation"))
    if not isinstance(settings, dict) or not isinstance(text, str):
        raise UserError(f"{where}: settings must be an object, and text a checksum")
    if not isinstance(losses, list) or not all(_fits(loss, float) for loss in losses):
        raise UserError(f"{where}: losses must be a list of numbers")
    if not _fits(state.get("step"), int) or state["step"] != len(losses):
        raise UserError(f"{where}: step {state.get('step')!r:.40} does not fit the {len(losses)} losses")
    if not isinstance(validation, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and _fits(pair[0], int) and _fits(pair[1], float)
        for pair in validation
    ):
        raise UserError(f"{where}: validation must be a list of [step, loss]")
    return Record(settings, text, [float(loss) for loss in losses], [(step, float(loss)) for step, loss in validation])


def _random_state(value: Any, where: str) -> dict[str, Any]:
    """The state of the random numbers, tried on a generator that nobody uses."""
    state: dict[str, Any] = matched(value, random.generator().bit_generator.state, where)
    try:
        trial = type(random.generator().bit_generator)(0)
        trial.state = state
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: {one_line(error):.120}") from None
    return state
