"""The demonstration: from end to end in a few steps, part by part, and stopped."""

import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models import demo, graphs, train
from models.command import Results
from models.neuron import NeuralNetwork

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
TEXT = ["attention", "block", "characters", "next-token", "positions", "text-curve", "words"]
PAGES = ["block.html", "fan-out.html", "film.html", "mlp.html", "neuron.html"]
FIRST = ["fan-out.html", "neuron.html", "neuron.svg"]  # which need no training
FILES = sorted([*PAGES, *(f"{name}.svg" for name in (*TEXT, "curve", "mlp", "neuron", "predictions")), "weights.npz"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_neuron_of_the_demo(tmp_path):
    tensors = graphs.neuron_tensors()
    tensors["a"].backward()
    assert tensors["a"].item() == pytest.approx(0.2355 * 1 + 0.0665 * -2)
    assert [tensors[name].grad.item() for name in ("w1", "w2", "b")] == [1, -2, 1]
    svg = graphs.neuron(tmp_path / "neuron.svg").read_text(encoding="utf-8")
    assert "0.1025" in svg
    assert "−2" in svg


def test_quick_writes_every_file_and_lists_it(tmp_path, capsys):
    assert demo.main(["--quick", "--out", str(tmp_path)]) == 0
    assert names(tmp_path) == FILES
    out = capsys.readouterr().out
    assert all(f"  {path}\n" in out for path in tmp_path.iterdir())
    assert re.search(r"loss \d\.\d\d nats a character .* knowing only how frequent each character is: 3\.\d\d", out)
    assert "   | " in out
    assert "nearest to if:" in out


def test_both_networks_read_digits(tmp_path, capsys):
    data = demo.digits()
    demo.classroom(data, epochs=25)
    demo.vectorised(data, Results(tmp_path, "test"), train.Settings())
    out = capsys.readouterr().out
    classroom, mlp = (float(line.split()[1][:-1]) for line in out.splitlines() if line.startswith("   reads"))
    assert classroom > 85
    assert mlp >= 97


def test_the_writer_soon_knows_more_than_how_frequent_each_character_is(tmp_path, capsys):
    demo.writer(Results(tmp_path, "test"), replace(demo.CHARACTERS, steps=60, eval_every=60))
    loss, unigram = map(float, re.findall(r"loss (\S+) nats a character .*: (\S+)", capsys.readouterr().out)[0])
    assert loss < unigram - 0.5


def test_ctrl_c_keeps_what_was_written(tmp_path, monkeypatch, capsys):
    def press(*anything, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeuralNetwork, "train", press)
    assert demo.main(["--quick", "--out", str(tmp_path)]) == 130
    error = capsys.readouterr().err
    assert error == f"python -m models.demo: stopped; what is done so far is in {tmp_path}\n"
    assert names(tmp_path) == FIRST


def test_ctrl_c_in_the_middle_of_the_transformer(tmp_path):
    script = (
        "import sys; from models import demo; demo.classroom = demo.vectorised = lambda *a, **k: None;"
        f"sys.exit(demo.main(['--out', {str(tmp_path)!r}]))"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("step 1/")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in error.splitlines() if not line.startswith("step ")] == [
        f"python -m models.demo: stopped; what is done so far is in {tmp_path}"
    ]
    assert names(tmp_path) == FIRST
