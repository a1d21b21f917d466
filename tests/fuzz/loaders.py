"""What the fuzzers feed: everything that reads a file, with good files to begin from.

A loader is given any bytes at all. It makes something of them, or raises one error of ours, in one line: anything else
(a traceback of a library, a hang, a crash, memory without bound) is what the fuzzers look for.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoint import settings_from
from models.command import UserError, parse_json
from models.datasets import from_npz
from models.gpt2 import read_config
from models.tokenizer import BytePairTokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer
from models.train_text import Settings
from models.transformer import TransformerConfig
from tinygrad_edu import FormatError, ShapeError, nn, serialize

OURS = (UserError, FormatError, ShapeError)
LONGEST = 1000  # characters of an error


@dataclass(frozen=True)
class Loader:
    """Reads a file; raises one of `OURS` if it is no good."""

    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    json: tuple[Any, ...] = ()  # the seeds that are JSON, as values


def check(loader: Loader, content: bytes) -> None:
    """Read the content from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        try:
            loader.read(path)
            message = "read"
        except OURS as error:
            message = str(error)
    assert 0 < len(message) < LONGEST, message
    assert "\n" not in message, message


def _tensors() -> tuple[bytes, ...]:
    everything = {name: np.zeros((2, 3), name) for name in ("bool", "int8", "uint64", "float16", "float64")}
    return serialize.pack(everything), serialize.pack(nn.Linear(3, 2).state_dict()), serialize.pack({})


def _use(tokenizer: Tokenizer) -> None:
    """A tokenizer that was made must work: text of all kinds, and back."""
    for text in ("", "the cat, ä 猫 \n\0", "a" * 50):
        try:
            tokenizer.decode(tokenizer.encode(text))
        except UserError:
            continue
    tokenizer.start()


def _byte_pairs() -> Any:
    vocabulary = {token: i for i, token in enumerate(["a", "b", "ab", "Ġ", "Ċ", "<|endoftext|>"])}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"]], "unk_token": None}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": model,
    }


def _merges(path: Path) -> None:
    """The file is both of GPT-2's: vocab.json up to the first empty line, merges.txt from there."""
    vocabulary, _, merges = path.read_bytes().partition(b"\n\n")
    files = path.with_name("vocab.json"), path.with_name("merges.txt")
    for file, content in zip(files, (vocabulary, merges), strict=True):
        file.write_bytes(content)
    _use(BytePairTokenizer.from_files(*files))


def _npz() -> tuple[bytes, ...]:
    files = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, X=np.eye(6, 2), y=np.arange(6) % 2)
        files.append(file.getvalue())
    return tuple(files)


def _json_loader(read: Callable[[Path], object], *values: Any) -> Loader:
    return Loader(read, tuple(json.dumps(value).encode() for value in values), values)


def _settings(kind: Any) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        data = parse_json(path.read_bytes(), "file")
        if not isinstance(data, dict):
            raise UserError("no object")  # as the checkpoint says, which knows the file
        return settings_from(kind, data, "file")

    return read


GPT2 = {"model_type": "gpt2", "vocab_size": 20, "n_positions": 8, "n_embd": 12, "n_head": 3, "n_layer": 2}
GPT2_MORE = {"activation_function": "gelu", "n_inner": 48, "resid_pdrop": 0.1, "layer_norm_epsilon": 1e-5}
LOADERS = {
    "weights": Loader(serialize.load, _tensors()),
    "module": Loader(lambda path: nn.Linear(3, 2).load(path), _tensors()),
    "npz": Loader(from_npz, _npz()),
    "gpt2 config": _json_loader(read_config, GPT2, GPT2 | GPT2_MORE),
    "checkpoint config": _json_loader(_settings(TransformerConfig), asdict(TransformerConfig(20, 8, 12, 3, 2))),
    "checkpoint settings": _json_loader(_settings(Settings), asdict(Settings())),
    "tokenizer": _json_loader(
        lambda path: _use(load_tokenizer(path)),
        CharTokenizer.of("banana").to_json(),
        WordTokenizer.of("the cat, the dog").to_json(),
        _byte_pairs(),
    ),
    "merges": Loader(_merges, (b'{"a": 0, "b": 1, "ab": 2, "\xc4\xa0": 3}\n\n#version: 0.2\na b\n',)),
}
