"""Checkpoints: complete or not there, and nothing in them is trusted."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as te
from models import checkpoint, train_text
from models.command import UserError
from models.train_text import Settings

pytest.importorskip("safetensors")

ROOT = Path(__file__).parents[2]
TEXT = "the cat sat on the mat, the dog ran to the cat.\n" * 4
TINY = Settings(context=8, layers=1, heads=2, width=8, steps=20, batch_size=2, warmup=2, dropout=0.1)
FILES = ["checksums.json", "config.json", "model.safetensors", "optimizer.safetensors", "state.json", "tokenizer.json"]


def trained(steps: int = 2, **changes) -> train_text.Training:
    training = train_text.begin(dataclasses.replace(TINY, **changes), TEXT)
    for _ in range(steps):
        train_text.step(training)
    return training


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A checkpoint that nobody may change."""
    return train_text.save(trained(), tmp_path_factory.mktemp("run"))


@pytest.fixture
def broken(good, tmp_path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(good, tmp_path / "broken"))


def sign(folder: Path) -> None:
    """Make the checksums fit, as somebody would who means harm."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "checksums.json").write_text(json.dumps(sums))


def resume(folder: Path) -> None:
    """Load all of it, and let a fresh training take it over."""
    saved = checkpoint.load(folder, training=True)
    fresh = train_text.prepared(TINY, trained(0).corpus, saved.tokenizer, saved.model, saved.record)
    saved.resume(fresh.optimizer, fresh.schedule)


def test_the_files_and_what_is_in_them(good):
    assert sorted(path.name for path in good.iterdir()) == FILES
    saved = checkpoint.load(good.parent)
    training = trained()
    for name, array in training.model.state_dict().items():
        np.testing.assert_array_equal(saved.model.state_dict()[name], array)
    assert saved.model.config == training.model.config
    assert saved.tokenizer.tokens == training.tokenizer.tokens
    assert saved.record == training.record
    assert saved.record.step == 2


@pytest.mark.parametrize("tied", [False, True])
def test_going_on_is_bit_identical(tied, tmp_path):
    straight = trained(8, tie_weights=tied)
    half = trained(4, tie_weights=tied)
    train_text.save(half, tmp_path)
    te.manual_seed(99)
    again = checkpoint.load(tmp_path, training=True)
    rest = train_text.prepared(half.settings, half.corpus, again.tokenizer, again.model, again.record)
    again.resume(rest.optimizer, rest.schedule)
    for _ in range(4):
        train_text.step(rest)
    assert rest.record.losses == straight.record.losses
    for name, array in straight.model.state_dict().items():
        np.testing.assert_array_equal(rest.model.state_dict()[name], array)


def test_a_run_without_a_step_is_kept_too(tmp_path):
    resume(train_text.save(trained(0), tmp_path))


def test_only_the_newest_stays_and_leftovers_go(tmp_path):
    training = trained()
    (tmp_path / "mine").mkdir()
    for number in (1, 2, 3):
        folder = train_text.save(training, tmp_path)
        assert folder.name == f"checkpoint-{number:06d}"
        (tmp_path / ".writing-000007").mkdir()
        (tmp_path / ".old-000001" / "deep").mkdir(parents=True)
    checkpoint.clean(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000003", "mine"]
    assert checkpoint.newest(tmp_path) == folder


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_save_that_fails_leaves_the_one_before(call, good, tmp_path, monkeypatch):
    run = Path(shutil.copytree(good.parent, tmp_path / "run"))

    def full(*anything):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        train_text.save(trained(), run)
    assert [path.name for path in run.iterdir()] == [good.name]
    resume(run)


# What is broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_cut_or_damaged_is_one_error(name, good, broken):
    content = (good / name).read_bytes()
    random = np.random.default_rng(0)
    places = [0, 7, 8, 9, len(content) - 1, *random.integers(len(content), size=6).tolist()]
    damaged = [bytes([*content[:i], content[i] ^ (1 << i % 8), *content[i + 1 :]]) for i in places]
    for version in [b"", *(content[:i] for i in places), *damaged]:
        (broken / name).write_bytes(version)
        with pytest.raises(UserError) as error:
            checkpoint.load(broken, training=True)
        assert str(broken) in str(error.value)
        assert len(str(error.value)) < 600
    (broken / name).unlink()
    with pytest.raises((UserError, FileNotFoundError), match=r"missing|no checkpoint"):
        checkpoint.load(broken, training=True)


@pytest.mark.parametrize("name", [name for name in FILES if name != "checksums.json"])
def test_damage_with_a_checksum_that_fits_is_one_error_or_none(name, good, broken):
    content = bytearray((good / name).read_bytes())
    random = np.random.default_rng(1)
    for i in [0, 1, 6, 7, 8, *random.integers(min(len(content), 2000), size=20).tolist()]:
        version = bytes([*content[:i], random.integers(256), *content[i + 1 :]])
        (broken / name).write_bytes(version if i % 3 else version[: max(i, 1)])
        sign(broken)
        try:
            checkpoint.load(broken, training=True)
        except UserError as error:
            assert str(broken) in str(error)  # noqa: PT017  # some damage is only another number


def pack(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


MALICIOUS = {
    "nothing": b"",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "long header": struct.pack("<Q", 2**27) + b"{}",
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "nested": pack(b"[" * 100_000),
    "beyond the end": pack({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "negative": pack({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
    "overlap": pack({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, b"1234"),
    "big product": pack({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"1234"),
    "unknown type": pack({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
    "foreign": pack({"../../a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    "empty": pack({}),
}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("kind", MALICIOUS)
def test_malicious_arrays_are_one_error(kind, name, broken):
    (broken / name).write_bytes(MALICIOUS[kind])
    sign(broken)
    with pytest.raises(UserError, match=name) as error:
        resume(broken)
    assert "\n" not in str(error.value)


def change_arrays(folder: Path, name: str, change) -> None:
    from safetensors.numpy import load, save

    arrays = load((folder / name).read_bytes())
    change(arrays)
    (folder / name).write_bytes(save(arrays))
    sign(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.pop("embed.weight"), "missing: embed.weight"),
        (lambda a: a.update(extra=np.zeros(1)), "unexpected: extra"),
        (lambda a: a.update({"embed.weight": a["embed.weight"].T.copy()}), r"wrong shape: embed.weight \(8, 16\)"),
        (lambda a: a.update({"embed.weight": a["embed.weight"] * np.float32(np.nan)}), "not finite: embed.weight"),
        (
            lambda a: a.update({"embed.weight": a["embed.weight"].astype(np.float64)}),
            "wrong type: embed.weight float64",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_listed(change, complaint, broken):
    change_arrays(broken, "model.safetensors", change)
    with pytest.raises(UserError, match=complaint):
        checkpoint.load(broken)


@pytest.mark.parametrize(
    ("key", "value"), [("t", np.int64(-1)), ("t", np.int64(99)), ("v", np.full((16, 8), -1, np.float32))]
)
def test_moments_that_cannot_be_are_an_error(key, value, broken):
    change_arrays(broken, "optimizer.safetensors", lambda a: a.update({f"embed.weight.{key}": np.array(value)}))
    with pytest.raises(UserError, match=r"optimizer.safetensors: embed.weight"):
        resume(broken)


JSON = [
    ("config.json", "vocab_size", 10**12, "vocab_size"),
    ("config.json", "embed_dim", 10**12, "too few"),
    ("config.json", "num_layers", 10**9, "num_layers"),
    ("config.json", "mlp_ratio", 10**12, "mlp_ratio"),
    ("config.json", "context_length", 10**12, "context_length"),
    ("config.json", "embed_dim", "8", "embed_dim must be int"),
    ("config.json", "embed_dim", True, "embed_dim must be int"),
    ("config.json", "embed_dim", -8, "embed_dim"),
    ("config.json", "num_heads", 3, "multiple"),
    ("config.json", "dropout", 1e999, "no number"),
    ("config.json", "norm_eps", float("nan"), "NaN is no number"),
    ("config.json", "positional", "../../etc", "positional"),
    ("config.json", "surprise", 1, "unexpected: surprise"),
    ("tokenizer.json", "kind", "pickle", "tokenizer of kind"),
    ("tokenizer.json", "tokens", [chr(i) for i in range(99)], "tokenizer.json has 99"),
    ("state.json", "step", 7, "step 7 does not fit"),
    ("state.json", "losses", [1.0, None], "losses"),
    ("state.json", "validation", [[1]], "validation"),
    ("state.json", "settings", [], "settings"),
    ("state.json", "text", None, "text"),
    ("state.json", "random", {"bit_generator": "PCG64"}, "expected the keys"),
    ("state.json", "schedule", {"steps": 1, "initial": [0.1]}, "at step 1, not 2"),
    ("state.json", "schedule", {"steps": 2, "initial": ["a"]}, "expected float"),
]


@pytest.mark.parametrize(("name", "key", "value", "complaint"), JSON)
def test_json_that_does_not_fit_is_one_error(name, key, value, complaint, broken):
    data = json.loads((broken / name).read_text(encoding="utf-8"))
    data[key] = value
    (broken / name).write_text(json.dumps(data))
    sign(broken)
    with pytest.raises(UserError, match=complaint) as error:
        resume(broken)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eval_every", 0),
        ("steps", -1),
        ("context", 9),
        ("width", 16),
        ("text", 5),
        ("lr", -1.0),
        ("heads", 4),
        ("x", 1),
    ],
)
def test_settings_that_do_not_fit_are_one_error(key, value, broken):
    data = json.loads((broken / "state.json").read_text(encoding="utf-8"))
    data["settings"][key] = value
    (broken / "state.json").write_text(json.dumps(data))
    sign(broken)
    with pytest.raises(UserError, match=r"state.json: settings"):
        train_text.resume(broken, {})


@pytest.mark.parametrize("change", [{"state": -1}, {"inc": 2**200}, {"state": 0.5}])
def test_random_numbers_that_cannot_be_are_an_error(change, broken):
    data = json.loads((broken / "state.json").read_text(encoding="utf-8"))
    data["random"]["state"].update(change)
    (broken / "state.json").write_text(json.dumps(data))
    sign(broken)
    with pytest.raises(UserError, match=r"state.json: random"):
        resume(broken)


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_pipe_is_not_waited_for(broken):
    (broken / "config.json").unlink()
    os.mkfifo(broken / "config.json")
    with pytest.raises(OSError, match=r"cannot read .*: it is no ordinary file"):
        checkpoint.load(broken)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        checkpoint.load(tmp_path / "missing")
    with pytest.raises(UserError, match="holds no checkpoint"):
        checkpoint.load(tmp_path)


def test_a_checkpoint_that_is_replaced_while_it_is_read(good, tmp_path, monkeypatch):
    run = Path(shutil.copytree(good.parent, tmp_path / "run"))
    training, read = trained(), checkpoint._read

    def late(folder, names):
        if folder.name == good.name:
            train_text.save(training, run)
        return read(folder, names)

    monkeypatch.setattr(checkpoint, "_read", late)
    assert checkpoint.load(run).folder.name == "checkpoint-000002"


# kill -9 -------------------------------------------------------------------------------------------------------------

SAVE_FOREVER = """
import sys
from pathlib import Path
from tests.models.test_checkpoint import trained
from models import train_text
training, run = trained(), Path(sys.argv[1])
train_text.save(training, run)
print("saved", flush=True)
while True:
    train_text.step(training)
    train_text.save(training, run)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_at_any_moment_leaves_a_complete_checkpoint(tmp_path):
    last = 0
    for turn in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "saved\n"
        time.sleep(0.03 + 0.017 * turn)
        process.kill()
        process.communicate()
        resume(tmp_path)
        number = int(checkpoint.newest(tmp_path).name.split("-")[1])
        assert number > last
        last = number
    checkpoint.clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"checkpoint-{last:06d}"]
