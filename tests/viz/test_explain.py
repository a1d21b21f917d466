"""Derivations: the numbers they print, substituted, make the engine's gradient."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.reading import diamond, fan_out, neuron
from tinygrad_edu import Tensor, nn
from viz.derivation import MOST_PATHS
from viz.trace import trace

ROOT = Path(__file__).parents[2]


def scalar(value: float, name: str) -> Tensor:
    return Tensor(value, requires_grad=True, name=name, dtype=np.float64)


def last_number(line: str) -> float:
    """The -2 of `× ∂p₂/∂w₂  x₂   = −2   multiply`."""
    return float(line.rsplit("=", 1)[1].split()[0].replace("−", "-"))


def evaluate(formula: str) -> Any:
    """A formula with numbers for names, such as `[[1 2]]ᵀ · [[3]]`, as NumPy computes it."""
    array = r"\[(?:[\[\]−\d. ]|e[+−]\d)+\]"
    code = re.sub(r"\[(\[\[[^⊙>]*\]\]) > 0\]", r"(\1 > 0)", formula)
    code = re.sub(array, lambda match: "np.array(" + re.sub(r"(?<=[\d\].]) (?=[−\d\[])", ",", match[0]) + ")", code)
    code = code.replace("−", "-").replace("⊙", "*").replace("·", "@").replace("ᵀ", ".T").replace("²", "**2")
    return eval(code, {"np": np})


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_the_factors_of_scalar_paths_multiply_and_add_up_to_the_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)  # of each graph there are few enough paths to list
    leaves = [scalar(x, f"x{n}") for n, x in enumerate(rng.normal(size=3))]
    values = list(leaves)
    for _ in range(3):
        a, b = (values[i] for i in rng.integers(0, len(values), 2))
        values.append([a * b, a + b, a.sin(), a - b, (a * 0.5).exp()][rng.integers(5)])
    root = values[-1] + values[-2] * leaves[0]
    root.backward()
    for leaf in leaves:
        if leaf.grad is not None:
            paths = viz.explain(root, leaf).split("  start\n")[1:]
            products = [np.prod([last_number(line) for line in path.splitlines() if "× ∂" in line]) for path in paths]
            assert np.isclose(sum(products), leaf.grad.item(), rtol=5e-3, atol=1e-9)


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_tensor_rules_with_numbers_for_names_compute_what_stands_under_them(format: str) -> None:
    x = Tensor([[1.0, -2.0], [0.5, 3.0]], name="x")
    w = Tensor([[0.1, -0.3], [0.4, 0.2]], requires_grad=True, name="w")
    v = Tensor([[1.0], [-1.0]], requires_grad=True, name="v")
    loss = ((((x @ w).tanh() * 2.0).relu() @ v) ** 2).sum()
    loss.backward()
    in_text, in_table = r"\n +=(.+)\n +=( \[.+)", r"\| `([^`A-Z]*\[[^`]*)` \| `(\[[^`]*\])` \|"
    for tensor, least in ((w, 4), (v, 2)):
        text, checked = viz.explain(loss, tensor, format), 0
        shown = re.search(r"= (\[.*?\])[`\n ]{2}", text.replace("`", "  "))
        assert shown is not None
        assert np.allclose(evaluate(shown[1]), tensor.grad.data, rtol=1e-3)
        for formula, value in re.findall(in_text if format == "text" else in_table, text):
            if "expand" not in formula:
                assert np.allclose(evaluate(formula.strip()), evaluate(value.strip()), rtol=5e-3), formula
                checked += 1
        assert checked >= least


def test_the_neuron_reads_like_the_blackboard() -> None:
    y, names = neuron()
    y.backward()
    text = viz.explain(y, names["w2"], names=names)
    assert text.startswith("∂y/∂w₂ = −2   (y = relu(w₁ · x₁ + w₂ · x₂ + b))")
    assert "× ∂y/∂z    gate open: z > 0      = 1   relu" in text
    assert "= ∂y/∂w₂   1 × 1 × 1 × 1 × (−2)  = −2" in text


def test_paths_are_added() -> None:
    c = fan_out()
    c.backward()
    a = c.inputs[0]
    text = viz.explain(c, a)
    assert "3 paths lead from c to a" in text
    assert text.endswith("dc/da = 6 + 3 + 3 = 12")
    assert text.count("Path ") == 3


def test_more_paths_than_can_be_listed_are_followed_card_by_card() -> None:
    x = scalar(1.01, "x")
    y = x
    for _ in range(6):
        y = y * y
    y.backward()
    text = viz.explain(y, x)
    assert "64 paths lead from L to x, too many to list" in text
    assert text.endswith(f"∂L/∂x = the sum = {viz.text.number(x.grad.data)}")
    assert MOST_PATHS < 64
    deep = x
    for _ in range(80):
        deep = (deep + deep) * 0.5
    deep.backward()
    assert "1 208 925 819 614 629 174 706 176 paths" in viz.explain(deep, x)


def test_attention_is_derived_too() -> None:
    te.manual_seed(0)
    layer = nn.MultiHeadAttention(8, 2)
    loss = (
        layer(Tensor(np.random.default_rng(0).normal(size=(1, 3, 8)).astype(np.float32)), is_causal=True) ** 2
    ).mean()
    loss.backward()
    for name, parameter in layer.named_parameters():
        text = viz.explain(loss, parameter, names={"layer": layer})
        assert f"/∂{name.split('.')[-1]}" in text.splitlines()[0]
        if parameter.grad is not None:
            shown = viz.text.literal if parameter.size <= viz.text.FEW else viz.text.magnitude
            assert shown(parameter.grad.data) in text.splitlines()[0]


def test_before_backward_there_are_symbols_and_a_word_why() -> None:
    y, names = neuron()
    text = viz.explain(y, names["w2"], names=names)
    assert text.splitlines()[0] == "∂y/∂w₂   (y = relu(w₁ · x₁ + w₂ · x₂ + b))"
    assert "gradients: not run (call backward() first)" in text
    assert "× ∂p₂/∂w₂  x₂" in text


def test_the_root_itself() -> None:
    y, _ = neuron()
    y.backward()
    assert viz.explain(y, y).startswith("∂L/∂L = 1")


# Formats -------------------------------------------------------------------------------------------------------------


def mathematics(latex: str) -> list[str]:
    """The sides of the equations, which matplotlib can read one by one."""
    body = latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    body = re.sub(r"\\begin\{pmatrix\}.*?\\end\{pmatrix\}", "M", body).replace(r"\quad", "")
    return [
        side.strip() for row in body.split("\\\\") for side in row.split("&=" if "&=" in row else "&") if side.strip()
    ]


def test_latex_is_well_formed() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    x = Tensor(np.ones((3, 3)), name="x_hat{$}#")
    w = Tensor(np.eye(3), requires_grad=True, name="layers.0.weight")
    loss = F.cross_entropy(
        F.layer_norm((x @ w).sigmoid() ** 2 + (w + 1.0).sqrt(), Tensor(np.ones(3)), Tensor(np.zeros(3))), np.arange(3)
    )
    loss.backward()
    written = [viz.explain(loss, w, "latex")]
    for root in (fan_out(), diamond()):
        root.backward()
        leaf = next(card.tensor for card in trace(root).cards if card.kind in ("variable", "parameter"))
        written.append(viz.explain(root, leaf, "latex"))
    for latex in written:
        assert latex.count("{") == latex.count("}")
        for side in mathematics(latex):
            mathtext.MathTextParser("path").parse(f"${side}$")


def test_latex_of_the_neuron() -> None:
    y, names = neuron()
    y.backward()
    latex = viz.explain(y, names["w2"], "latex", names=names)
    assert r"\frac{\partial y}{\partial w_{2}} &= \frac{\partial y}{\partial z} \cdot" in latex
    assert r"&= 1 \cdot 1 \cdot 1 \cdot 1 \cdot x_{2} \\" in latex
    assert r"&= 1 \times 1 \times 1 \times 1 \times (-2) \\" in latex


def test_markdown_survives_hostile_names() -> None:
    w = scalar(2.0, "a|b`c<script>")
    y = w * 3.0
    y.backward()
    table = [line for line in viz.explain(y, w, "markdown").splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert all(line.count("`") % 2 == 0 for line in table)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_explained() -> None:
    y, names = neuron()
    with pytest.raises(ValueError, match=r"format is 'text', 'markdown' or 'latex', got 'html'"):
        viz.explain(y, names["w2"], "html")
    with pytest.raises(TypeError, match="expected a Tensor to derive the gradient of, got float"):
        viz.explain(y, 2.0)
    with pytest.raises(ValueError, match="one of this graph that requires a gradient"):
        viz.explain(y, scalar(1.0, "elsewhere"))


def test_text_needs_no_graphviz() -> None:
    script = (
        "import sys; sys.modules['graphviz'] = sys.modules['pygraphviz'] = None\n"
        "import viz; from tinygrad_edu import Tensor\n"
        "x = Tensor(3.0, requires_grad=True, name='x'); y = x * x; y.backward()\n"
        "print(viz.explain(y, x)); print(viz.tree(y)); print(viz.steps(y).text())\n"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "dL/dx = 3 + 3 = 6" in done.stdout
    assert "L = x · x   9   gradient 1" in done.stdout
    assert "All gradients are known. ∂L/∂x = 6" in done.stdout
