"""Every number in a picture is the engine's."""

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.graphs import PICTURES
from tests.viz.reading import broadcasting, close, diamond, fan_out, neuron, parse, value_of
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter
from viz import details
from viz.details import describe
from viz.frame import SHOWN_USES
from viz.frames import frames
from viz.parts import Card, Fold, View
from viz.text import FEW, norm, number, statistics, together
from viz.trace import trace


def check(root: Tensor, **options: object) -> None:
    """Compare what is drawn with a sweep of our own: values, gradients, what passes along each edge, and the folds."""
    totals: dict[Tensor, np.ndarray] = {}
    contributions: dict[tuple[Tensor, int], np.ndarray] = {}
    for step in te.sweep(root, gradients=totals):
        totals[step.output] = step.upstream
        contributions[step.output, step.index] = step.contribution
    drawing = viz.draw(root, **options)
    texts, hints = parse(drawing.source)
    for node in drawing.view.nodes:
        if isinstance(node, Fold):
            check_fold(node, drawing.view, totals, contributions, texts, hints)
        else:
            check_card(node, totals, contributions, texts, hints)
    for links in drawing.view.uses.values():
        if 1 < len(links) <= SHOWN_USES:
            for link in links:
                passed = [contributions.get((edge.target.tensor, edge.index)) for edge in link.edges]
                check_outlet(texts[f"u-{link.id}"], [array for array in passed if array is not None])


def check_array(identity: str, array: np.ndarray, texts: dict[str, str], hints: dict[str, str]) -> None:
    """A number as it is; few numbers each; more as their norm, in sight and in the tooltip."""
    array = np.asarray(array)
    if array.ndim == 0:
        assert close(texts[identity], array)
        return
    assert f"norm {number(norm(array))}," in hints[identity]
    if array.size <= FEW:
        assert texts[identity] == "".join(number(x) for x in array.flat)
    if array.dtype.kind == "f" and np.isfinite(norm(array)):
        assert f"norm {number(norm(array))}" in texts[f"n{identity}"] or "masked" in texts[f"n{identity}"]


def check_card(
    card: Card,
    totals: dict[Tensor, np.ndarray],
    contributions: dict[tuple[Tensor, int], np.ndarray],
    texts: dict[str, str],
    hints: dict[str, str],
) -> None:
    check_array(f"v-{card.id}", card.tensor.data, texts, hints)
    total = totals.get(card.tensor)
    if total is None:
        assert texts[f"g-{card.id}"] in ("not needed", "gradient: not needed")
    else:
        check_array(f"g-{card.id}", total, texts, hints)
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
            assert f"passes on {statistics(passed)}" in hints[f"c-{edge.id}"]


def check_fold(
    fold: Fold,
    view: View,
    totals: dict[Tensor, np.ndarray],
    contributions: dict[tuple[Tensor, int], np.ndarray],
    texts: dict[str, str],
    hints: dict[str, str],
) -> None:
    """Norms of the value, of the gradient in and out, of each module of a stack, and of each parameter."""
    inside, kept = {card.tensor for card in fold.cards}, {leaf.tensor for leaf in fold.leaves}
    leaving: dict[Tensor, np.ndarray] = {}
    for (tensor, index), passed in contributions.items():
        source = tensor.inputs[index]
        if tensor in inside and source not in inside and source not in kept:
            leaving[source] = leaving.get(source, 0) + passed
    used_inside = {x for tensor in inside for x in tensor.inputs if isinstance(x, Tensor)}
    used_outside = {
        x for card in view.trace.cards if card.tensor not in inside for x in card.tensor.inputs if isinstance(x, Tensor)
    }
    outputs = [tensor for tensor in inside if tensor in used_outside or tensor not in used_inside]
    before, after = together([totals[tensor] for tensor in outputs]), together(leaving.values())
    assert texts[f"g-{fold.id}"] == f"gradient norm {number(before)} → {number(after)}  (×{number(after / before)})"
    assert texts[f"v-{fold.id}"] == f"value norm {number(together([tensor.data for tensor in outputs]))}"
    groups: dict[str, list[float]] = {}
    for leaf in fold.leaves:
        if leaf.kind == "parameter":
            groups.setdefault(leaf.name.rpartition(".")[2] if len(fold.parts) > 1 else leaf.name, []).append(
                norm(totals[leaf.tensor])
            )
    shown = [text for identity, text in texts.items() if identity.startswith("p-") and identity[2:] in _ids(fold)]
    assert len(shown) == len(groups)
    for words, norms in zip(shown, groups.values(), strict=True):
        numbers = [min(norms), max(norms)] if len(norms) > 1 else norms
        assert words.endswith("gradient norm " + " … ".join(map(number, numbers)))


def _ids(fold: Fold) -> set[str]:
    return {leaf.id for leaf in fold.leaves}


def check_outlet(words: str, passed: list[np.ndarray]) -> None:
    if passed:
        total = sum(passed[1:], passed[0])
        assert words.endswith(number(total) if np.ndim(total) == 0 else f"norm {number(norm(total))}")


@pytest.mark.parametrize("name", PICTURES)
def test_every_number_of_every_golden_picture(name: str) -> None:
    root, options = PICTURES[name]()
    check(root, **options)


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


def test_two_weights_in_one_formula_have_their_whole_names_and_each_its_own_shape() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 5, bias=False))
    (model[1].weight @ model[0].weight).sum().backward()
    product = trace(model[1].weight @ model[0].weight, {"m": model}).root
    assert product.formula == "y = m.1.weight · m.0.weight"
    assert product.kept == ["m.1.weight (5, 4)", "m.0.weight (4, 3)"]
    assert [edge.note for edge in product.inputs] == ["(5, 3) · (3, 4) → (5, 4)", "(4, 5) · (5, 3) → (4, 3)"]


@pytest.mark.parametrize(
    ("array", "bars"),
    [
        ([1.0, 1 - 2**-53] * 5, 2),
        ([1.7e308, -1.7e308] * 5, 2),
        ([np.inf, -np.inf, 0.0, 1.0] * 3, 2),
        (np.full((40, 40), [np.inf, -np.inf] * 20), 0),
    ],
)
def test_numbers_next_to_each_other_and_beyond_all_bounds_are_drawn_without_a_warning(array: list, bars: int) -> None:
    x = Tensor(np.array(array), requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        y = (x * 0.5).mean()
        y.backward()
    drawing = viz.draw(y, theme="light")
    card = drawing.view.trace.cards[0]
    with np.errstate(all="ignore"):  # as the page does
        shown = describe(card, drawing.view, "en")["value"]
    assert sum(height > 0 for height in shown.get("bars", [])) == bars
    assert frames(drawing.view)
    assert "x" in viz.tree(y)
    assert "∂L/∂x" in viz.explain(y, x)


def test_the_histogram_counts_its_twentieths() -> None:
    shown = details.statistics(np.repeat([0.0, 0.5, 1.0], (2, 4, 1)).repeat(2), "en")
    assert [n for n, height in enumerate(shown["bars"]) if height] == [0, 10, 19]
    assert [shown["bars"][n] for n in (0, 10, 19)] == [50, 100, 25]
    assert shown["range"].endswith("from 0 to 1")


def test_a_sum_of_zero_has_the_mean_zero_in_tooltips_and_in_details() -> None:
    array = np.array([0.1, 0.2, -0.3] * 4, dtype=np.float32)
    assert "mean 0," in statistics(array)
    assert ("mean", "0") in details.statistics(array, "en")["rows"]
