"""`python -m viz`: a user's script, told and drawn."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import viz
from tests.viz.reading import neuron
from viz import command
from viz.terminal import columns, wrapped

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import helper
from tinygrad_edu import Tensor, nn
w = nn.Parameter(0.5, name="w")
if __name__ == "__main__":
    x = Tensor(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
    loss = (w * x - helper.TARGET) ** 2
    loss.backward()
class Trainer: pass
trainer = Trainer()
trainer.loss, trainer.rate = loss, 0.1
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("TARGET = 3.0\n")
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def run(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def test_the_steps_of_a_script(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert run(f"{script}:loss", "--steps") == 0
    told = capsys.readouterr().out
    assert "loss = h₂²   (−2)² = 4" in told
    assert "∂h₁/∂w = x   (−4) × 2 = −8" in told
    assert "loss is 3.386; it was 4" in " ".join(told.split())
    assert "\033" not in told, "no colour where it is not a terminal"
    assert max(map(columns, told.splitlines())) <= 60


@pytest.mark.parametrize("width", [30, 47, 80, 200])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_text_fits_any_width(width: int, lang: str) -> None:
    y, names = neuron()
    y.backward()
    told = viz.steps(y, names=names, lang=lang).text(width)
    assert max(map(columns, told.splitlines())) <= width
    assert "1 × (−2) = −2" in told
    assert "\033[1;33m" in viz.steps(y, names=names).text(colour=True)


def test_a_word_longer_than_the_line_is_cut() -> None:
    assert list(wrapped("abc " + "x" * 10, 4)) == ["abc", "xxxx", "xxxx", "xx"]
    assert list(wrapped("梯度梯度梯", 4)) == ["梯度", "梯度", "梯"]


def test_names_cannot_command_the_terminal() -> None:
    y, names = neuron()
    names["w1"].name = "\033[31mred"
    y.backward()
    assert "\033" not in viz.steps(y, names=names).text()


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html", ".dot"])
def test_out_writes_a_picture(script: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygraphviz")
    out = tmp_path / f"x{suffix}"
    assert run(script, "--out", out, "--theme", "dark", "--lang", "zh") == 0
    assert out.stat().st_size > 1000
    assert capsys.readouterr().out == f"{out}\n"
    assert run(f"{script}:trainer.loss", "--out", out, "--steps", "--depth", "1") == 0
    caught = capsys.readouterr()
    assert caught.err == f"{out}\n"
    assert "Backward" in caught.out


def test_arguments_after_two_dashes_go_to_the_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    assert run(script, "--steps", "--", "4.0") == 0
    assert "0.5 · 4 = 2" in capsys.readouterr().out
    assert before == (sys.argv, sys.path, sys.modules["__main__"])


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("{}:los", [], "has no variable los; did you mean loss?"),
        ("{}:zebra", [], "has no variable zebra; its tensors: w, x, loss"),
        ("{}:trainer.rate", [], "trainer.rate is no Tensor but float"),
        ("{}:trainer.speed", [], "Trainer has no attribute speed"),
        ("{}x.py:loss", [], "there is no file"),
        ("loss", [], "expected FILE.py:NAME, such as train.py:loss, got 'loss'"),
        ("{}", ["--out", "x.gif"], "--out x.gif: must end in one of .svg, .png, .pdf, .dot, .html"),
        ("{}", ["--out", "no/such/folder/x.dot"], "cannot write"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    script: Path, capsys: pytest.CaptureFixture[str], target: str, options: list[str], message: str
) -> None:
    assert run(target.format(script), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("python -m viz: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("options", [["--depth", "-1"], ["--theme", "pink"], ["--lang", "fr"], ["--what"]])
def test_wrong_options_are_one_line_and_exit_2(
    script: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(script, *options)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_error_of_the_script_shows_its_own_traceback_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def f():\n    return 1 / 0\n\nf()\n")
    assert run(path) == 1
    error = capsys.readouterr().err
    assert "line 4, in <module>" in error
    assert error.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "command.py" not in error
    path.write_text("loss = (\n")
    assert run(path) == 1
    error = capsys.readouterr().err
    assert "SyntaxError" in error
    assert "command.py" not in error


def test_a_script_that_ends_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ends.py"
    script = "from tinygrad_edu import Tensor\nx = Tensor(2.0, requires_grad=True)\nloss = x * x\nloss.backward()\n"
    path.write_text(script + "raise SystemExit\n")
    assert run(path) == 0
    assert "4" in capsys.readouterr().out
    path.write_text(script + "raise SystemExit(3)\n")
    assert run(path) == 2
    assert "ended itself with 3" in capsys.readouterr().err


def test_a_pipe_that_closes_early_is_no_error(script: Path) -> None:
    line = f'"{sys.executable}" -m viz "{script}" | "{sys.executable}" -c "import sys; sys.stdin.readline()"'
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text("import time\nprint('running', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "viz", str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "running\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error == "python -m viz: stopped\n"


def test_a_leaf_has_no_steps_and_text_needs_no_graphviz(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert run(f"{script}:w") == 0
    assert "The gradients are not shown: nothing was computed." in capsys.readouterr().out
