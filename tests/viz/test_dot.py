"""The DOT source: golden files, determinism, escaping, and work that grows linearly."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import viz
from tests.viz.graphs import PICTURES
from tests.viz.reading import parse
from tinygrad_edu import Tensor, autograd
from viz import formulas

GOLDEN = Path(__file__).parents[1] / "golden" / "viz"


def draw(name: str) -> str:
    root, options = PICTURES[name]()
    return viz.draw(root, **options).source


@pytest.mark.parametrize("name", PICTURES)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{name}.dot"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(draw(name), encoding="utf-8", newline="\n")
    assert draw(name) == path.read_text(encoding="utf-8"), "the picture changed: look at it, then run --update-golden"


@pytest.mark.parametrize("name", ["neuron", "folded-stack"])
def test_equal_graphs_give_equal_sources_in_any_process(name: str) -> None:
    code = f"from tests.viz.test_dot import draw; import sys; sys.stdout.buffer.write(draw({name!r}).encode())"
    root = Path(__file__).parents[2]
    for seed in ("0", "1"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment, cwd=root)
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(draw(name).encode()).digest()


def test_identities_do_not_depend_on_what_was_made_before() -> None:
    first = draw("diamond")
    for _ in range(7):
        Tensor(1.0)
    assert draw("diamond") == first


@pytest.mark.parametrize(
    "name", ["<script>alert('x')</script>", 'quo"te', "a & b", "back\\slash \\N", "new\nline\0", "]>", "{x}", "%s"]
)
def test_names_are_escaped(name: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name=name)
    loss = (x * x).sum()
    loss.backward()
    drawing = viz.draw(loss, title=name)
    assert drawing.html.count("<script") == 2  # the page's data and its own script
    assert drawing.svg.count("<svg") == 1


def test_type_sizes_are_whole_points() -> None:
    sizes = re.findall(r'point-size="([^"]*)"', draw("broadcasting"))
    assert sizes
    assert all(size.isdecimal() for size in sizes), "Graphviz drops fractions"


def test_two_lines_per_link_and_one_in_large_graphs() -> None:
    small = draw("neuron")
    assert small.count("class=fwd") == 9
    assert small.count('class="bwd') == 9
    y = Tensor(1.0, requires_grad=True)
    for _ in range(70):
        y = y * 2.0
    y.backward()
    large = viz.draw(y, budget=None).source
    assert large.count('class="fwd bwd') == 70


def test_work_is_linear_in_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[int] = []
    original = formulas.print_rule
    monkeypatch.setattr(formulas, "print_rule", lambda *a: printed.append(1) or original(*a))

    def edges(layers: int) -> int:
        printed.clear()
        y = Tensor(1.0, requires_grad=True)
        for _ in range(layers):
            y = y + y  # 2 to the power of `layers` paths
        y.backward()
        viz.draw(y, highlight=y, budget=None)
        return len(printed)

    assert edges(20) == 40
    assert edges(60) == 120


def test_a_deep_chain_and_its_size() -> None:
    def length(depth: int) -> int:
        y = Tensor(1.0, requires_grad=True)
        for _ in range(depth):
            y = y * 0.999
        y.backward()
        return len(viz.draw(y).source)

    assert length(3000) < 2.2 * length(1500)


def test_each_op_is_read_once_in_order_of_creation() -> None:
    texts, _ = parse(draw("fan-out"))
    assert [identity for identity in texts if identity.startswith("g-")] == ["g-t0", "g-op1", "g-op2"]
    assert autograd.state.recording.get()
