"""The commands as a user runs them: good runs, wrong input, Ctrl-C, missing extras."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models import MLP, train

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """The exit code of the train command, run in this process."""
    try:
        return train.main(["mlp", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def start(*arguments, before="", **options):
    """The train command in a process of its own; `before` is Python to run first."""
    script = f"import sys; {before}\nfrom models.train import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-W", "error", "-c", script, "mlp", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_digits_png_and_the_weights_load(tmp_path, capsys):
    assert run("--epochs", 2, "--hidden", "16", "--format", "png", "--out", tmp_path) == 0
    assert names(tmp_path) == ["curve.png", "mlp.png", "predictions.png", "weights.npz"]
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    model = MLP([64, 16, 10])
    model.load_state_dict(np.load(tmp_path / "weights.npz", allow_pickle=False))
    out = capsys.readouterr().out
    assert "1438 training samples" in out
    assert all(str(path) in out for path in tmp_path.iterdir())


def test_moons_svg_twice_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        assert run("--data", "moons", "--epochs", 2, "--hidden", "8,8", "--out", tmp_path / folder) == 0
    assert names(tmp_path / "a") == ["boundary.svg", "curve.svg", "mlp.svg", "weights.npz"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_file_of_ones_own(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    np.savez(tmp_path / "own.npz", X=random.normal(size=(60, 5)) + y[:, None], y=np.array(["a$", "_b", "c" * 99])[y])
    out = tmp_path / "out"
    assert run("--data", tmp_path / "own.npz", "--epochs", 2, "--hidden", "", "--activation", "tanh", "--out", out) == 0
    assert names(out) == ["curve.svg", "mlp.svg", "weights.npz"]


def test_many_classes_and_a_constant_feature_in_the_plane(tmp_path):
    y = np.arange(80) % 20
    np.savez(tmp_path / "own.npz", X=np.stack([y, y * 0], axis=1), y=y)
    assert run("--data", tmp_path / "own.npz", "--epochs", 1, "--out", tmp_path / "out") == 0
    assert "boundary.svg" in names(tmp_path / "out")


BAD = {
    "--epochs 0": "--epochs: expected a whole number of at least 1, got '0'",
    "--epochs many": "got 'many'",
    "--batch-size -3": "--batch-size",
    "--lr 0": "--lr: expected a number above 0, got '0'",
    "--lr nan": "got 'nan'",
    "--lr inf": "got 'inf'",
    "--weight-decay 2": "--weight-decay",
    "--seed -1": "--seed",
    "--hidden 64,x": "expected layer sizes such as 64,32, got '64,x'",
    "--hidden 64,,3": "--hidden",
    "--hidden 99999999999": "--hidden",
    "--activation rleu": "relu",
    "--format gif": "--format",
    "--data mnist": "expected digits, moons or a file that ends with .npz, got 'mnist'",
    "--data missing.npz": "missing.npz: No such file",
    "--data bad.npz": "is no .npz file",
    "--data moons --lr 1e30": "try an --lr below 1e+30",
    "--data moons --out taken": "taken: it is a file, not a folder",
    "--data moons --out taken/deeper": "taken",
    "--unknown": "unrecognized arguments",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_changes_nothing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "bad.npz").write_text("X y")
    out = tmp_path / "out"
    out.mkdir()
    (out / "weights.npz").write_text("old")
    code = run("--out", out, "--epochs", 2, *arguments.split())
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if not line.startswith("epoch ")]
    assert code in (1, 2)
    assert len(lines) == 1, error
    assert BAD[arguments] in lines[0]
    assert names(out) == ["weights.npz"]
    assert (out / "weights.npz").read_text() == "old"


def test_no_model_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_picture_that_cannot_be_written_costs_one_line(tmp_path, capsys):
    (tmp_path / "curve.svg").mkdir()
    assert run("--data", "moons", "--epochs", 1, "--hidden", "4", "--out", tmp_path) == 1
    error = capsys.readouterr().err
    assert "no curve.svg" in error
    assert names(tmp_path) == ["boundary.svg", "curve.svg", "mlp.svg", "weights.npz"]


def interrupted(tmp_path, number, *arguments):
    """Run, wait for the first epoch, send the signal."""
    process = start("--epochs", 100_000, "--data", "moons", "--hidden", "8", "--out", tmp_path, *arguments)
    first = process.stderr.readline()
    assert first.startswith("epoch 1/100000")
    time.sleep(0.2)
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as POSIX does")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_and_sigterm_save_what_there_is(name, tmp_path):
    code, out, error = interrupted(tmp_path, getattr(signal, name))
    assert code == 130
    assert error.count("\n") == 1
    assert "stopped after epoch" in error
    assert "test accuracy" in out
    assert names(tmp_path) == ["boundary.svg", "curve.svg", "mlp.svg", "weights.npz"]
    MLP([2, 8, 2]).load_state_dict(np.load(tmp_path / "weights.npz"))


def test_ctrl_c_before_the_first_epoch_keeps_the_old_weights(tmp_path, monkeypatch, capsys):
    (tmp_path / "weights.npz").write_text("old")

    def press(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "measure", press)
    assert run("--data", "moons", "--out", tmp_path) == 130
    assert capsys.readouterr().err.strip() == "python -m models.train: stopped"
    assert names(tmp_path) == ["weights.npz"]


def finished(process):
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


def test_without_tqdm_and_matplotlib_it_still_trains(tmp_path):
    hide = "sys.modules['tqdm'] = sys.modules['matplotlib'] = None"
    code, _, error = finished(start("--data", "moons", "--epochs", 2, "--out", tmp_path, before=hide))
    assert code == 1
    assert "epoch 2/2  loss" in error
    assert 'no curve.svg: a chart needs the Python package matplotlib: pip install "tinygrad_edu[viz]"' in error
    assert "Traceback" not in error
    assert names(tmp_path) == ["mlp.svg", "weights.npz"]


def test_without_scikit_learn_one_line(tmp_path):
    code, out, error = finished(start("--out", tmp_path / "out", before="sys.modules['sklearn'] = None"))
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert 'pip install "tinygrad_edu[demo]"' in error
    assert not (tmp_path / "out").exists()


def test_without_a_layout_engine_the_dot_source_is_written(tmp_path, monkeypatch, capsys):
    import viz

    def missing(*anything):
        raise viz.MissingEngineError("no layout engine")

    monkeypatch.setattr("viz.drawing.render", missing)
    assert run("--data", "moons", "--epochs", 1, "--hidden", "4", "--out", tmp_path) == 0
    assert names(tmp_path) == ["boundary.svg", "curve.svg", "mlp.dot", "weights.npz"]
    assert (tmp_path / "mlp.dot").read_text().lstrip().startswith("digraph")
    captured = capsys.readouterr()
    assert "mlp.svg: no layout engine; writing the DOT source instead" in captured.err
    assert str(tmp_path / "mlp.dot") in captured.out


def test_a_reader_that_leaves_is_no_error(tmp_path):
    process = start("--data", "moons", "--epochs", 1, "--hidden", "4", "--out", tmp_path)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, error
    assert "Traceback" not in error


def test_help_fits_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "COLUMNS", "50")
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 60 for line in out.splitlines())
