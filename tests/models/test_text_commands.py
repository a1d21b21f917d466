"""Training a transformer and letting it write, as a user does: good runs, wrong input, Ctrl-C, kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint, generate, train, train_text
from models.tokenizer import CharTokenizer

pytest.importorskip("safetensors")

ROOT = Path(__file__).parents[2]
TEXT = "the cat sat on the mat, the dog ran to the cat.\n" * 8
SMALL = "--context 8 --layers 1 --heads 2 --width 8 --batch-size 2 --warmup 2 --dropout 0.1".split()
OFTEN = "--eval-every 5 --sample-every 10 --checkpoint-every 5".split()


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A finished run that nobody may change."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    assert code(train.main, "transformer", "--text", folder / "text.txt", *SMALL, "--steps", 20, "--out", folder) == 0
    return folder


def code(main, *arguments) -> int:
    """The exit code of a command, run in this process."""
    try:
        return main([str(each) for each in arguments])
    except SystemExit as stop:
        return stop.code


def learn(*arguments) -> int:
    return code(train.main, "transformer", *arguments)


def write(*arguments) -> int:
    return code(generate.main, *arguments)


def start(*arguments) -> subprocess.Popen:
    """The training in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "models.train", "transformer", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def state(run: Path) -> dict:
    return json.loads((checkpoint.newest(run) / "state.json").read_text(encoding="utf-8"))


def same(a: Path, b: Path) -> None:
    """Both runs ended in the same place, to the last bit."""
    for name in ("model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json"):
        assert (checkpoint.newest(a) / name).read_bytes() == (checkpoint.newest(b) / name).read_bytes(), name
    for key in ("losses", "validation", "schedule", "random", "step"):
        assert state(a)[key] == state(b)[key], key


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--tokenizer", "word", "--tie-weights", "--positional", "sinusoidal"]])
def test_a_run(options, text, tmp_path, capsys):
    assert learn("--text", text, *SMALL, *OFTEN, *options, "--steps", 20, "--out", tmp_path / "run") == 0
    captured = capsys.readouterr()
    assert re.search(r"knows only their frequencies has loss \d\.\d{3}", captured.out)
    assert captured.out.count("The model writes:") == 2
    assert "validation" in captured.err
    assert "tokens/s" in captured.err
    assert "step 20/20" in captured.err
    assert [step for step, _ in state(tmp_path / "run")["validation"]] == [5, 10, 15, 20]
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_it_learns(text, tmp_path, capsys):
    assert learn("--text", text, *SMALL, "--steps", 150, "--lr", 0.02, "--width", 16, "--out", tmp_path) == 0
    ids = CharTokenizer.of(TEXT).encode(TEXT)
    assert state(tmp_path)["validation"][-1][1] < train_text.unigram_entropy(ids) - 0.8


class StopAfter(train_text.StopRequest):
    """Ctrl-C as it comes in the middle of a step."""

    def __init__(self, training_step: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.steps = training_step
        original = train_text.step

        def step(training):
            loss = original(training)
            if training.record.step == self.steps:
                signal.raise_signal(number)
            return loss

        train_text.step, self.original = step, original

    def __exit__(self, *error):
        train_text.step = self.original
        super().__exit__(*error)


def test_ctrl_c_saves_and_resuming_is_bit_identical(text, tmp_path, monkeypatch, capsys):
    arguments = ["--text", text, *SMALL, "--steps", 20]
    assert learn(*arguments, *OFTEN, "--out", tmp_path / "straight") == 0
    with monkeypatch.context() as patch:
        patch.setattr(train_text, "StopRequest", lambda: StopAfter(10))
        assert learn(*arguments, *OFTEN, "--out", tmp_path / "stopped") == 130
    capsys.readouterr()
    assert checkpoint.newest(tmp_path / "stopped").name == "checkpoint-000002"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert learn("--resume", "--out", tmp_path / "stopped") == 0
    assert "going on after step 10 of 20" in capsys.readouterr().out
    same(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_and_sigterm_between_checkpoints_say_where_they_saved(name, text, tmp_path, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(train_text, "StopRequest", lambda: StopAfter(3, getattr(signal, name)))
        assert learn("--text", text, *SMALL, "--steps", 20, "--out", tmp_path) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"stopped after step 3 of 20; saved to {tmp_path / 'checkpoint-000001'}, --resume goes on from there"
    assert state(tmp_path)["step"] == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_twice_stops_at_once():
    with train_text.StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.made
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_thread_can_train(tmp_path):
    made = []
    thread = threading.Thread(target=lambda: made.append(train_text.StopRequest().__enter__().made))
    thread.start()
    thread.join()
    assert made == [False]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_loses_only_the_steps_since_the_last_checkpoint(text, tmp_path):
    arguments = ["--text", text, *SMALL, *OFTEN, "--steps", 20]
    assert learn(*arguments, "--out", tmp_path / "straight") == 0
    process = start(*arguments, "--checkpoint-every", 1, "--out", tmp_path / "killed")
    while not process.stderr.readline().startswith("step 8/20"):
        pass
    process.kill()
    process.communicate()
    assert 8 <= state(tmp_path / "killed")["step"] < 20
    assert learn("--resume", "--out", tmp_path / "killed") == 0
    same(tmp_path / "straight", tmp_path / "killed")


def test_measuring_and_samples_change_nothing(text, tmp_path):
    arguments = ["--text", text, *SMALL, "--steps", 8]
    assert learn(*arguments, "--sample-every", 2, "--eval-every", 2, "--out", tmp_path / "often") == 0
    assert learn(*arguments, "--sample-every", 99, "--eval-every", 99, "--out", tmp_path / "never") == 0
    assert state(tmp_path / "often")["losses"] == state(tmp_path / "never")["losses"]


def test_going_on_for_longer(run_folder, text, tmp_path, capsys):
    run = tmp_path / "run"
    assert learn("--text", text, *SMALL, "--steps", 4, "--out", run) == 0
    assert learn("--resume", "--out", run) == 0
    assert "--steps N with a larger N goes on" in capsys.readouterr().out
    assert learn("--resume", "--steps", 6, "--out", run) == 0
    assert state(run)["step"] == 6
    text.write_text(TEXT.replace("cat", "cow"), encoding="utf-8")
    assert learn("--resume", "--steps", 8, "--out", run) == 1
    assert "learned from another text" in capsys.readouterr().err
    assert learn("--resume", "--steps", 8, "--text", run_folder / "text.txt", "--out", run) == 0


def test_a_run_is_replaced_only_on_request_and_only_by_a_checkpoint(text, tmp_path, capsys):
    arguments = ["--text", text, *SMALL, "--steps", 4, "--out", tmp_path / "run"]
    assert learn(*arguments) == 0
    first = checkpoint.newest(tmp_path / "run")
    assert learn(*arguments) == 1
    assert "already holds a run: --resume goes on with it, --overwrite replaces it" in capsys.readouterr().err
    assert learn(*arguments, "--lr", "1e30", "--overwrite") == 1
    assert "try an --lr below 1e+30" in capsys.readouterr().err
    assert checkpoint.newest(tmp_path / "run") == first
    assert learn(*arguments, "--seed", 1, "--overwrite") == 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-000002"]
    assert state(tmp_path / "run")["settings"]["seed"] == 1


BAD = {
    "--text missing.txt": "missing.txt: No such file",
    "--text .": "it is a folder",
    "--text empty.txt": "empty.txt is empty",
    "--text latin.txt": "not UTF-8 text: byte 3",
    "--text short.txt": "too short",
    "--context 0": "--context",
    "--heads 3": "multiple of num_heads=3",
    "--width nine": "--width",
    "--tokenizer pairs": "--tokenizer",
    "--vocabulary 1 --tokenizer word": "--vocabulary",
    "--positional rotary": "--positional",
    "--activation rleu": "--activation",
    "--dropout 1": "--dropout",
    "--lr -1": "--lr",
    "--steps 0": "--steps",
    "--resume": "holds no checkpoint",
    "--out text.txt": "text.txt",
    "--out text.txt/deeper": "text.txt",
    "--surprise": "unrecognized",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_changes_nothing(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert learn("--out", "run", "--text", text, *SMALL, "--steps", 2, *arguments.split()) in (1, 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert BAD[arguments] in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments", ["--width 16", "--seed 3", "--tokenizer word", "--tie-weights", "--no-bias", "--mlp-ratio 2"]
)
def test_resuming_with_another_model_is_one_line(arguments, run_folder, capsys):
    assert learn("--resume", "--out", run_folder, *arguments.split()) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "which --resume cannot change" in error


def test_a_terminal_that_knows_few_characters_shows_question_marks(tmp_path):
    (tmp_path / "text.txt").write_text("東京☃" * 40, encoding="utf-8")
    arguments = ["transformer", "--text", tmp_path / "text.txt", *SMALL, "--steps", 1, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "models.train", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "???" in done.stdout) == (0, True), done.stderr


def test_without_safetensors_one_line_before_the_training(text, tmp_path):
    script = (
        "import sys; sys.modules['safetensors'] = None\nfrom models.train import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "transformer", "--text", text, *SMALL, "--out", tmp_path / "run"]
    done = subprocess.run([str(each) for each in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert 'pip install "tinygrad_edu[weights]"' in done.stderr
    assert not (tmp_path / "run").exists()


# Writing -------------------------------------------------------------------------------------------------------------


def test_it_writes_the_same_streamed_or_not(run_folder, capsys):
    arguments = [run_folder, "--prompt", "the ", "--max-new-tokens", 30, "--seed", 5, "--top-k", 5, "--top-p", 0.9]
    assert write(*arguments) == 0
    whole = capsys.readouterr()
    assert write(*arguments, "--stream") == 0
    assert capsys.readouterr().out == whole.out
    assert whole.out.startswith("the ")
    assert len(whole.out) == len("the ") + 30 + 1
    assert whole.err == ""


def test_greedy_writing_needs_no_seed_and_a_checkpoint_is_a_model_too(run_folder, capsys):
    assert write(run_folder, "--temperature", 0, "--max-new-tokens", 5) == 0
    first = capsys.readouterr().out
    assert write(checkpoint.newest(run_folder), "--temperature", 0, "--max-new-tokens", 5) == 0
    assert capsys.readouterr().out == first
    assert len(first) == 6


def test_a_long_prompt_is_told_and_only_its_end_is_seen(run_folder, capsys):
    assert write(run_folder, "--prompt", "the cat sat", "--max-new-tokens", 4, "--temperature", 0) == 0
    captured = capsys.readouterr()
    assert "the prompt has 11 tokens; the model sees the last 8" in captured.err
    assert captured.out.startswith("the cat sat")
    assert write(run_folder, "--prompt", "the cat sat"[-8:], "--max-new-tokens", 4, "--temperature", 0) == 0
    assert capsys.readouterr().out[8:] == captured.out[11:]


def test_an_unknown_character_is_one_line(run_folder, capsys):
    assert write(run_folder, "--prompt", "Thé") == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "'T' (U+0054), 'é' (U+00E9)" in captured.err


def test_an_unknown_word_is_told(text, tmp_path, capsys):
    assert learn("--text", text, *SMALL, "--tokenizer", "word", "--steps", 1, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert write(tmp_path / "run", "--prompt", "the bird", "--max-new-tokens", 1) == 0
    captured = capsys.readouterr()
    assert "the model does not know 'bird'; it reads <unk> there" in captured.err
    assert captured.out.startswith("the bird")


def test_what_comes_next_fits_the_terminal(run_folder, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "COLUMNS", "40")
    assert write(run_folder, "--prompt", "the ", "--next", "--temperature", 0.5) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["next", "T", "=", "1", "T", "=", "0.5"]
    assert len(lines) == 11
    assert max(map(len, lines)) <= 40


def test_a_terminal_that_knows_no_block_gets_another_bar(run_folder):
    command = [sys.executable, "-m", "models.generate", str(run_folder), "--next"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert b"#" in done.stdout
    assert done.stdout.isascii()


def test_a_gpt2_from_hugging_face_writes(tmp_path, capsys):
    tokenizers = pytest.importorskip("tokenizers")
    from safetensors.numpy import save_file

    from models.gpt2 import expected_shapes, read_config

    engine = tokenizers.ByteLevelBPETokenizer()
    engine.train_from_iterator(["the cat sat"], vocab_size=260, show_progress=False)
    engine.save_model(str(tmp_path))
    sizes = {"vocab_size": engine.get_vocab_size(), "n_positions": 8, "n_embd": 4, "n_head": 2, "n_layer": 1}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
    random = np.random.default_rng(0)
    shapes = expected_shapes(read_config(tmp_path / "config.json"))
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "model.safetensors")
    assert write(tmp_path, "--prompt", "the cat ☃", "--max-new-tokens", 9, "--seed", 0) == 0
    whole = capsys.readouterr().out
    assert whole.startswith("the cat ☃")
    assert write(tmp_path, "--prompt", "the cat ☃", "--max-new-tokens", 9, "--seed", 0, "--stream") == 0
    assert capsys.readouterr().out == whole
    assert write(tmp_path, "--next") == 0


BAD_WRITING = {
    "missing": "there is no folder missing",
    ".": "holds no checkpoint",
    "RUN --temperature -1": "--temperature",
    "RUN --temperature nan": "--temperature",
    "RUN --top-k 0": "--top-k",
    "RUN --top-p 1.5": "--top-p",
    "RUN --max-new-tokens 0": "--max-new-tokens",
    "RUN --seed x": "--seed",
    "": "DIR",
}


@pytest.mark.parametrize("arguments", BAD_WRITING)
def test_bad_input_to_writing_is_one_line(arguments, run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert write(*(run_folder if each == "RUN" else each for each in arguments.split())) in (1, 2)
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert BAD_WRITING[arguments] in captured.err


def test_characters_of_several_tokens_are_printed_whole(capsys):
    tokenizers = pytest.importorskip("tokenizers")
    from models.tokenizer import BytePairTokenizer

    engine = tokenizers.ByteLevelBPETokenizer()
    engine.train_from_iterator(["ab"], vocab_size=257, show_progress=False)
    tokenizer = BytePairTokenizer.from_text(engine.to_str())
    writer = generate.Writer(tokenizer)
    printed = []
    for id in tokenizer.encode("☃!"):
        writer(int(id))
        printed.append(capsys.readouterr().out)
    assert printed == ["", "", "☃", "!"]
    assert np.array(writer.waiting).size == 0


def test_every_field_of_the_config_can_be_set(text, tmp_path):
    options = "--layers 1 --width 8 --heads 1 --context 8 --mlp-ratio 2 --no-bias --norm-eps 1e-6".split()
    arguments = ("transformer", "--text", text, "--steps", 1, *options, "--out", tmp_path / "run")
    assert code(train.main, *arguments) == 0
    config = checkpoint.load(tmp_path / "run").model.config
    assert (config.mlp_ratio, config.bias, config.norm_eps) == (2, False, 1e-6)
