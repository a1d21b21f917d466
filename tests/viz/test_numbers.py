"""Every number in a picture is the engine's."""

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.reading import broadcasting, close, diamond, fan_out, neuron, parse, value_of
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter
from viz.text import norm, number
from viz.trace import trace


def check(root: Tensor, **options: object) -> None:
    """Compare what is drawn with a sweep of our own: values, gradients, and what passes along each edge."""
    totals: dict[Tensor, np.ndarray] = {}
    contributions: dict[tuple[Tensor, int], np.ndarray] = {}
    for step in te.sweep(root, gradients=totals):
        totals[step.output] = step.upstream
        contributions[step.output, step.index] = step.contribution
    texts, hints = parse(viz.draw(root, **options).source)
    for card in trace(root).cards:
        if np.ndim(card.value) == 0:
            assert close(texts[f"v-{card.id}"], card.tensor.data)
        else:
            assert f"norm {number(norm(card.tensor.data))}," in hints[f"v-{card.id}"]
        total = totals.get(card.tensor)
        if total is None:
            assert texts[f"g-{card.id}"] in ("not needed", "gradient: not needed")
        elif np.ndim(total) == 0:
            assert close(texts[f"g-{card.id}"], total)
        else:
            assert f"norm {number(norm(total))}," in hints[f"g-{card.id}"]
        for edge in card.inputs:
            if (card.tensor, edge.index) not in contributions:
                assert not edge.needs_grad
                continue
            passed = contributions[card.tensor, edge.index]
            if edge.scalar:
                numbers = texts[f"c-{edge.id}"]
                assert close(numbers, passed)
                product = numbers.split(edge.rule)[1].split("=")[0].split("×")
                assert np.isclose(value_of(product[0]) * value_of(product[1]), passed, rtol=1e-3)
            else:
                assert f"norm {number(norm(passed))}" in hints[f"c-{edge.id}"] or close(number(passed), passed)


@pytest.mark.parametrize("make", [lambda: neuron()[0], fan_out, diamond, broadcasting])
@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_small_graphs(make: object, direction: str) -> None:
    root = make()
    root.backward()
    check(root, direction=direction)


def test_an_mlp_with_modules() -> None:
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    x = Tensor(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32), requires_grad=True, name="x")
    loss = F.mse_loss(model(x), Tensor(np.ones((4, 2), np.float32), name="t"))
    loss.backward()
    check(loss)
    source = viz.draw(loss, names={"mlp": model}).source
    for path in ("mlp.0.weight", "mlp.2.bias", "▾ mlp.0", "Linear(3 → 5)"):
        assert path in source
    assert source.count("subgraph cluster_") == 4


def test_the_neuron_reads_as_in_a_textbook() -> None:
    y, names = neuron()
    y.backward()
    drawing = viz.draw(y, names=names, highlight=names["w2"])
    texts, _ = parse(drawing.source)
    assert drawing.title == "y = relu(w₁ · x₁ + w₂ · x₂ + b)"
    columns = {text.strip() for identity, text in texts.items() if identity.startswith("c-")}
    assert "∂p₂/∂w₂ = x₂1 × (−2) = −2" in columns
    assert "∂z/∂s = 11 × 1 = 1" in columns
    assert "backward starts here:   ∂y/∂y = 1" in drawing.source
    assert "The chain rule for w₂" in drawing.source
    assert drawing.source.count("penwidth=3") == 4


def test_gradients_are_seen_to_add_up() -> None:
    c = fan_out()
    c.backward()
    source = viz.draw(c).source
    assert "6 + 3 + 3 = 12" in source
    assert "∂b/∂a (left) = 1" in source
    assert "used 3 times" in source
    assert source.count("from b") == 2


def test_a_broadcast_is_undone_in_words() -> None:
    loss = broadcasting()
    loss.backward()
    source = viz.draw(loss).source
    assert "∂L/∂b = Σ G over 3 rows" in source
    assert "undo the broadcast (2,) → (3, 2)" in source
    assert "∂L/∂scale = Σ (G ⊙ x) over all 6 elements" in source


def test_shapes_gates_and_what_is_kept() -> None:
    x = Tensor(np.array([[1.0, -1.0, 2.0]]), name="x")
    w = Parameter(np.eye(3), name="W")
    (x @ w).relu().sum().backward()
    loss = (x @ w).relu().sum()
    source = viz.draw(loss).source
    assert "∂L/∂W = xᵀ · G" in source
    assert "(3, 1) · (1, 3) → (3, 3)" in source
    assert "1 of 3 gates are closed: no gradient passes there" in source
    assert "kept for backward:  x (1, 3)<" in source
    assert "x needs no gradient" in source


def test_a_tensor_used_often_gets_an_alias_at_each_use() -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    y = x * 1.0
    for factor in range(2, 9):
        y = y + x * float(factor)
    y.backward()
    source = viz.draw(y).source
    assert source.count("one of 8 uses") == 8
    assert "= 36" in source


def test_the_derivation_multiplies_to_the_gradient() -> None:
    y, names = neuron()
    y.backward()
    traced = trace(y, names, highlight=names["x2"])
    (path,) = traced.derivation.paths
    product = np.prod([factor.edge.local for factor in path])
    assert np.isclose(product, names["x2"].grad.item())
    several = trace(diamond_run := diamond(), highlight=diamond_run.inputs[0].inputs[0])
    assert several.derivation.count == 3


def test_the_title_shortens_what_is_long() -> None:
    x = Tensor(1.0, requires_grad=True, name="x")
    y = x
    for _ in range(40):
        y = (y * 2.0).tanh()
    y.backward()
    assert len(viz.draw(y).title) < 80


def test_accumulated_gradients_are_told_apart() -> None:
    x = Tensor(3.0, requires_grad=True, name="x")
    for _ in range(2):
        y = x * x
        y.backward()
    assert ".grad holds 12: more than one backward()" in viz.draw(y).source


def test_large_tensors_are_pooled_and_say_so() -> None:
    w = Parameter(np.ones((40, 100)), name="W")
    loss = (w * 2.0).sum()
    loss.backward()
    source = viz.draw(loss).source
    assert "16 × 16 block means" in source
    assert "(40, 100)" in source
    assert len(source) < 400_000


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (8,), (9,), (2, 3, 4), (17, 1)])
def test_any_shape_can_be_drawn(shape: tuple[int, ...]) -> None:
    x = Tensor(np.zeros(shape), requires_grad=True)
    loss = (x * 2.0).sum()
    loss.backward()
    assert str(shape) in viz.draw(loss).source


def test_not_a_number_has_its_own_colour() -> None:
    x = Tensor(np.array([np.nan, np.inf] + [1.0] * 10), requires_grad=True)
    loss = (x * 1.0).sum()
    loss.backward()
    source = viz.draw(loss).source
    assert "norm NaN" in source
    assert 'bgcolor="#8a5a00"' in source


def test_a_relu_shows_its_gate() -> None:
    x = Tensor(np.arange(-6.0, 6.0).reshape(3, 4), requires_grad=True, name="x")
    loss = x.relu().sum()
    loss.backward()
    texts, _ = parse(viz.draw(loss).source)
    assert "gate-op1" in texts
    source = viz.draw(loss).source
    assert "41.7 % open" in source
    assert "7 of 12 gates are closed" in source
