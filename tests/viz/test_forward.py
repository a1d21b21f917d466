"""What can be drawn: a model and its inputs, a gradient that is a graph itself, and a bare tensor in a notebook."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.reading import neuron, parse
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter


def test_a_model_is_called_once_and_its_output_drawn() -> None:
    calls = []

    class Model(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor, scale: float) -> Tensor:
            calls.append(self.training)
            return self.layer(x) * scale

    with te.no_grad():
        source = viz.draw(Model(), np.ones((2, 3), np.float32), 2.0).source
    assert calls == [True]
    for shown in ("model.layer.weight", "gradients: not run", "y = h ⊙ 2", "▾ model.layer", "<b>x1</b>"):
        assert shown.replace("x1", "x₁") in source


def test_the_names_of_the_user_come_first() -> None:
    net, x = nn.Linear(2, 1), Tensor([[1.0, 2.0]])
    source = viz.draw(net, x, names={"net": net, "tokens": x}).source
    assert "net.weight" in source
    assert "<b>tokens</b>" in source


def test_arrays_that_became_tensors_have_names_too() -> None:
    labels = np.array([1, 0])
    loss = F.cross_entropy(Tensor(np.eye(2), requires_grad=True), labels)
    assert "labels" in viz.draw(loss, names={"labels": labels}).title


def test_what_cannot_be_drawn() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    y, _ = neuron()
    with pytest.raises(TypeError, match="pass its inputs too"):
        viz.draw(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"returned a tuple, not a Tensor: draw one of its results .* viz.draw\(model"):
        viz.draw(Two(), y)
    with pytest.raises(TypeError, match="expected a Tensor, such as the loss, or a model and its inputs, got a Tensor"):
        viz.draw(y, y)


def test_a_gradient_is_a_graph() -> None:
    w, x = Parameter(2.0, name="w"), Tensor(0.5, requires_grad=True, name="x")
    y = (w * x).tanh()
    y.name = "y"
    (slope,) = te.grad(y, [x], create_graph=True)
    assert "gradients: not run" in viz.draw(slope).source
    slope.backward()
    texts, _ = parse(viz.draw(slope, names={"slope": slope}).source)
    shown = {text for identity, text in texts.items() if identity.startswith("c-")}
    assert any("∂y/∂h₁ = 1 − y²" in text for text in shown)
    assert any("= 2 · y" in text for text in shown)  # the slope of y², a second derivative
    y2 = np.tanh(1.0)
    assert np.isclose(w.grad.item(), (1 - y2**2) - 2 * y2 * (1 - y2**2), rtol=1e-5)


# Notebooks


def test_a_bare_tensor_shows_its_graph_once_viz_is_imported() -> None:
    pytest.importorskip("pygraphviz")
    y, _ = neuron()
    shown = y._repr_mimebundle_()
    assert shown is not None
    assert shown["image/svg+xml"].startswith("<svg")
    assert shown["text/plain"] == repr(y)
    assert Tensor(1.0)._repr_mimebundle_() is None


def test_without_an_engine_a_notebook_shows_text(monkeypatch: pytest.MonkeyPatch) -> None:
    y, _ = neuron()
    monkeypatch.setitem(sys.modules, "graphviz", None)
    (shown,) = y._repr_mimebundle_().values()
    assert shown.startswith(repr(y))
    assert "pip install" in shown


def test_without_viz_a_notebook_shows_text() -> None:
    code = (
        "import sys; from tinygrad_edu import Tensor; y = Tensor(1.0, requires_grad=True) * 2\n"
        "print(y._repr_mimebundle_(), 'viz' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["None", "False"]
