"""The graph as plain text."""

import numpy as np
import pytest

import viz
from tests.viz.reading import fan_out, neuron
from tinygrad_edu import Tensor


def test_every_edge_says_how_the_gradient_passed() -> None:
    y, names = neuron()
    y.backward()
    lines = viz.tree(y, names=names).splitlines()
    assert lines[0] == "y = relu(z)   0.1025   gradient 1"
    assert "   │     ├─ w₂   0.0665   gradient −2   ∂p₂/∂w₂ = x₂: 1 × (−2) = −2" in lines
    assert len(lines) == 10


def test_a_tensor_used_again_is_followed_once() -> None:
    h = Tensor(2.0, requires_grad=True, name="x").exp()
    y = h * (h + h)
    y.backward()
    text = viz.tree(y)
    assert text.count("(see above)") == 2
    assert text.count("exp(x)") == 3
    assert text.count("─ x ") == 1


def test_before_backward_it_says_so() -> None:
    assert viz.tree(fan_out()).startswith("gradients: not run (call backward() first)\nc = a · b   18\n")


def test_a_deep_graph_stays_narrow() -> None:
    x = Tensor(np.ones((4, 4)), requires_grad=True, name="x")
    y = x
    for _ in range(500):
        y = y * 1.01
    loss = y.sum()
    loss.backward()
    lines = viz.tree(loss).splitlines()
    assert max(map(len, lines)) < 160
    assert sum("continued below" in line for line in lines) > 50
    assert "x   (4, 4) norm 4   gradient (4, 4)" in lines[-1]


@pytest.mark.parametrize("root", [3.0, None, "loss"])
def test_needs_a_tensor(root: object) -> None:
    with pytest.raises(TypeError, match="expected a Tensor"):
        viz.tree(root)


@pytest.mark.parametrize("name", ["tree", "draw", "steps", "explain"])
def test_an_error_names_no_function_that_was_not_called(name: str) -> None:
    with pytest.raises(TypeError, match=r"^viz(\.explain)?: expected a Tensor, such as the loss") as caught:
        getattr(viz, name)(3, *([Tensor(1.0)] if name == "explain" else []))
    assert "draw" not in str(caught.value)
