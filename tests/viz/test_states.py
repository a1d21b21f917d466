"""What a picture says where there is no gradient, and that it refuses what it cannot do."""

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.reading import fan_out, neuron, parse
from tinygrad_edu import Op, Tensor, nn
from tinygrad_edu.nn import Parameter


def test_before_backward_there_are_values_and_rules_only() -> None:
    y, names = neuron()
    source = viz.draw(y, names=names).source
    assert "gradients: not run" in source
    assert "0.1025" in source
    assert "∂y/∂z = 1   (gate open: z &gt; 0)" in source
    assert "backward starts here" not in source
    texts, _ = parse(source)
    assert {text.strip() for identity, text in texts.items() if identity.startswith("g-")} == {"not run"}


def test_an_exact_zero_reads_zero() -> None:
    x = Tensor(-1.0, requires_grad=True, name="x")
    y = x.relu() * -1.0
    y.backward()
    texts, _ = parse(viz.draw(y).source)
    assert texts["g-t0"] == "0"
    assert texts["v-op2"] == "0"
    assert "= 0   (gate closed: x ≤ 0)" in viz.draw(y).source
    assert "= 0   (gate closed: x ≠ h)" in viz.draw(x.clip(0.0, 1.0) * 2.0).source


def test_data_and_frozen_parameters_say_so() -> None:
    x = Tensor(1.0, requires_grad=True)
    y = x * Tensor(2.0, name="d") * Parameter(3.0, requires_grad=False, name="w")
    y.backward()
    source = viz.draw(y).source
    texts, _ = parse(source)
    assert [texts[f"g-t{n}"] for n in (0, 1, 3)] == ["6", "not needed", "frozen"]
    assert "d needs no gradient" in source
    assert "   variable<" in source


def test_a_value_changed_in_place_is_reported_in_words() -> None:
    w, x = Parameter(np.ones((2, 2)), name="W"), Tensor(np.ones((2, 2)), requires_grad=True, name="x")
    loss = (x @ w).sum()
    loss.backward()
    with te.no_grad():
        w[0, 0] = 7.0
    source = viz.draw(loss).source
    assert "gradients can no longer be shown" in source
    assert "matmul (2, 2)" in source
    assert "value changed in place after it was used" in source
    assert "draw before the optimizer’s step" in source
    assert "not shown" in source


def test_a_root_of_many_elements_needs_its_kept_gradient() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = x * 2.0
    y.backward([1.0, 10.0])
    assert "retain_grad()" in viz.draw(y).source
    y = x * 2.0
    y.retain_grad()
    y.backward([1.0, 10.0])
    source = viz.draw(y).source
    assert "the gradient given to backward()" in source
    assert "norm 20.1" in source


def test_a_tensor_that_nothing_was_recorded_for_is_one_card() -> None:
    source = viz.draw(Tensor([1.0, 2.0], name="alone")).source
    assert "alone" in source
    assert "nothing was recorded" in source
    assert " -> " not in source


def test_an_op_whose_rule_cannot_print_itself_shows_the_authored_formula() -> None:
    def rule(g: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        if not isinstance(g, (np.ndarray, np.generic)):
            raise TypeError("arrays only")
        return g * 2

    double = Op("double", lambda x: x * 2, vjp=(rule,), formula=("2 ⊙ G",))
    x = Tensor(3.0, requires_grad=True, name="x")
    y = te.apply(double, x)
    y.backward()
    source = viz.draw(y).source
    assert "∂L/∂x = 2" in source
    assert "double" in source


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "up"}, "direction is one of 'TB', 'LR'"),
        ({"rate": 0.0}, "rate is the size of a step, above 0, such as 0.01, got 0.0"),
        ({"rate": float("nan")}, "got nan"),
        ({"theme": "pink"}, "theme is one of 'auto', 'light', 'dark'"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.draw(fan_out(), **options)


def test_highlight_must_be_in_the_graph() -> None:
    with pytest.raises(ValueError, match="must be one of this graph"):
        viz.draw(fan_out(), highlight=Tensor(1.0, requires_grad=True))


def test_only_tensors_are_drawn() -> None:
    with pytest.raises(TypeError, match="expected a Tensor, such as the loss, or a model and its inputs, got list"):
        viz.draw([fan_out()])
    y, names = neuron()
    for wrong in ([y], {y: "y"}, nn.Linear(1, 1)):
        with pytest.raises(TypeError, match=r"from names to tensors and modules, such as locals\(\)"):
            viz.draw(y, names=wrong)
    assert viz.draw(y, names=names | {"number": 3}).title == viz.draw(y, names=names).title


def test_names_come_from_the_tensor_then_from_the_user() -> None:
    x, w = Tensor(1.0, requires_grad=True), Parameter(2.0, name="own")
    y = x * w
    source = viz.draw(y, names={"given": x, "other": w, "number": 3, "y": y}).source
    assert "y = given · own" in source
    assert "other" not in source


def test_names_of_notebooks_for_results_are_not_names() -> None:
    layer, x = nn.Linear(2, 1), Tensor([[1.0, 2.0]])
    y = layer(x).relu()
    names = {"_": y, "__": x, "_7": layer, "x": x, "layer": layer, "_8": layer}
    drawing = viz.draw(y, names=names)
    assert drawing.title == "y = relu(x · weightᵀ + bias)"
    assert "layer.weight" in drawing.source


def test_options_are_shown_where_they_are_not_the_usual_ones() -> None:
    logits, target = Tensor([[1.0, 2.0]], requires_grad=True), np.array([1])
    assert "cross_entropy · ()" in viz.draw(F.cross_entropy(logits, target)).source
    smooth = F.cross_entropy(logits, target, label_smoothing=0.1, reduction="sum")
    assert "cross_entropy · label_smoothing=0.1 · reduction=sum · ()" in viz.draw(smooth).source


def test_whole_numbers_have_no_norm() -> None:
    logits, labels = Tensor(np.ones((3, 2)), requires_grad=True), Tensor([0, 1, 1])
    assert viz.draw(F.cross_entropy(logits, labels)).source.count(">norm ") == 1
    assert ">1 × 16 block means<" in viz.draw(Tensor(np.arange(40))).source


def test_equal_names_are_told_apart() -> None:
    y = Tensor(1.0, requires_grad=True, name="x") * Tensor(2.0, requires_grad=True, name="x")
    assert "L = x · x (2)" in viz.draw(y).source


def test_drawing_changes_nothing() -> None:
    y, names = neuron()
    y.backward()
    before = {name: tensor._grad for name, tensor in names.items()}
    viz.draw(y, names=names)
    assert all(names[name]._grad is grad for name, grad in before.items())
