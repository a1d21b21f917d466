"""te.health: one row for each layer, warnings first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import Transformer, TransformerConfig
from tests.samples import real
from tinygrad_edu import Tensor, nn, optim

X = real(16, 8).astype(np.float32)
Y = np.arange(16) % 4


@pytest.fixture
def model() -> Any:
    te.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 4))


def test_norms_are_those_of_weights_gradients_and_outputs(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    found = te.health(model, loss)
    loss.backward()
    assert found.warnings == ()
    assert [row.path for row in found.rows] == ["0", "2", "4"]
    hidden = model[:2](X)
    for row, layer, output in zip(found.rows, (model[0], model[2], model[4]), (None, model[2](hidden), None)):
        weights = np.concatenate([p.data.ravel() for p in layer.parameters()])
        gradients = np.concatenate([p.grad.data.ravel() for p in layer.parameters()])
        assert row.weight == pytest.approx(np.linalg.norm(weights))
        assert row.gradient == pytest.approx(np.linalg.norm(gradients))
        assert row.ratio == pytest.approx(np.linalg.norm(gradients) / np.linalg.norm(weights))
        if output is not None:
            assert row.output == pytest.approx(np.sqrt(np.mean(output.data**2)))
    assert found.rows[0].dead == pytest.approx((hidden.data <= 0).all(axis=0).mean())
    assert found.rows[1].saturated == 0
    assert (found.rows[2].dead, found.rows[2].saturated) == (None, None)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_step_is_what_the_optimizer_does_next(model: Any, kind: Any) -> None:
    optimizer = kind(model.parameters(), lr=0.01)
    for _ in range(3):
        loss = F.cross_entropy(model(X), Y)
        rows = te.health(model, loss, optimizer).rows
        before = {name: p.data.copy() for name, p in model.named_parameters()}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for row in rows:
            moved = [p.data - before[n] for n, p in model.named_parameters() if n.startswith(row.path)]
            weights = [before[n] for n in before if n.startswith(row.path)]
            norms = [np.linalg.norm(np.concatenate([x.ravel() for x in several])) for several in (moved, weights)]
            assert row.ratio == pytest.approx(norms[0] / norms[1], rel=1e-3)


def test_nothing_is_changed(model: Any) -> None:
    optimizer = optim.Adam(model.parameters())
    loss = F.cross_entropy(model(X), Y)
    before = model.state_dict()
    te.health(model, loss, optimizer)
    assert all(p.grad is None for p in model.parameters())
    assert optimizer.steps == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    loss.backward()  # the graph is as it was


def test_dead_units(model: Any) -> None:
    model[0].bias.data[:7] = -100
    found = te.health(model, F.cross_entropy(model(X), Y))
    assert found.rows[0].dead >= 0.7
    assert "0: " in found.warnings[0]
    assert "of its units are dead: their ReLU is closed for every sample" in found.warnings[0]


def test_saturation(model: Any) -> None:
    model[2].weight.data[:] *= 1000
    found = te.health(model, F.cross_entropy(model(X), Y))
    assert found.rows[1].saturated > 0.9
    assert "2: " in found.warnings[0]
    assert "saturate the activation behind it" in found.warnings[0]


def test_nan_comes_first(model: Any) -> None:
    model[2].weight.data[0, 0] = np.nan
    model[0].bias.data[:7] = -100
    found = te.health(model, F.cross_entropy(model(X), Y))
    assert "numbers are NaN or infinite" in found.warnings[0]
    assert found.rows[1].bad
    assert "dead" in found.warnings[-1]
    assert "NaN" in str(found)


def test_no_gradient_and_frozen(model: Any) -> None:
    model[0].requires_grad_(False)
    unused = nn.ModuleList([model, nn.Linear(2, 2)])
    found = te.health(unused, F.cross_entropy(model(X), Y))
    assert found.warnings == ("1: gets no gradient; te.why(parameter, loss) says why",)
    assert found.rows[0].gradient is None


def test_a_gradient_of_zero(model: Any) -> None:
    found = te.health(model, F.cross_entropy(model(X), Y) * 0.0)
    assert found.warnings[0] == "0: its gradient is exactly 0; te.why(parameter, loss) says why"


def test_steps_too_long_and_too_short(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    long = te.health(model, loss, optim.SGD(model.parameters(), lr=1e3))
    assert "lower the learning rate" in long.warnings[0]
    short = te.health(model, loss, optim.SGD(model.parameters(), lr=1e-9))
    assert "is too small" in short.warnings[0]


def test_gradients_that_vanish() -> None:
    te.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(8, 8), nn.Sigmoid())))
    found = te.health(model, F.mse_loss(model(X), X))
    assert found.warnings[0].startswith("gradients differ ")
    assert found.warnings[0].endswith("from 0 to 14")


def test_a_transformer_fits_into_80_columns() -> None:
    te.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=9, context_length=8, embed_dim=8, num_heads=2, num_layers=1))
    ids = np.arange(8)[None]
    found = te.health(model, F.cross_entropy(model(ids), ids, axis=-1), optim.AdamW(model.parameters()))
    table = str(found).splitlines()[len(found.warnings) or 1 :]
    assert len({len(line) for line in table}) == 1
    assert len(table[0]) <= 80
    assert str(found).isascii()
    assert table[0].split() == ["layer", "weight", "grad", "step/w", "output", "dead", "sat.", "bad"]
    assert len(table) == 1 + len(found.rows)
    assert any(line.startswith("blocks.0.attention.query") for line in table)


def test_after_the_step_it_is_too_late(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    loss.backward()
    optim.SGD(model.parameters()).step()
    with pytest.raises(te.GraphError, match="changed in place"):
        te.health(model, loss)


def holds_more(model: Any, loss: Tensor) -> bool:
    return any(
        "holds more than this backward(): call zero_grad()" in words for words in te.health(model, loss).warnings
    )


def test_a_forgotten_zero_grad(model: Any) -> None:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        loss = F.cross_entropy(model(X), Y)
        assert not holds_more(model, loss)  # it may still be called
        loss.backward()
        assert holds_more(model, loss) == (step > 0)
        optimizer.step()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(X), Y)
    loss.backward()
    assert te.health(model, loss).warnings == ()


def test_nan_comes_before_a_forgotten_zero_grad(model: Any) -> None:
    for factor in (1.0, 2.0):
        loss = F.cross_entropy(model(X), Y) * factor
        loss.backward()
    model[2].bias.grad.data[:] = np.nan
    model[0].weight.data[0, 0] = np.nan
    warnings = te.health(model, loss).warnings
    assert "numbers are NaN or infinite" in warnings[0]
    assert ".grad of 5 parameters holds more" in " ".join(warnings)


@pytest.mark.parametrize("times", [2, 3])
def test_the_same_loss_several_times(model: Any, times: int) -> None:
    loss = F.cross_entropy(model(X), Y)
    for _ in range(times):
        loss.backward()
    assert te.health(model, loss).warnings[0].startswith(".grad of 6 parameters holds more than this backward()")


def test_clipping_is_no_forgotten_zero_grad(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    loss.backward()
    optim.clip_grad_norm_(model[0].parameters(), 1e-3)
    for p in model[2].parameters():
        p.grad = p.grad.clip(-1e-4, 1e-4)
    assert not holds_more(model, loss)


def test_parameters_that_the_optimizer_does_not_hold(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    other = optim.SGD([*model[0].parameters(), model[2].weight], lr=0.1)
    assert te.health(model, loss, other).warnings == (
        "2: the optimizer holds 1 of its 2 parameters: the others stay as they are",
        "4: the optimizer holds 0 of its 2 parameters: the others stay as they are",
    )


def test_wrong_types(model: Any) -> None:
    loss = F.cross_entropy(model(X), Y)
    with pytest.raises(TypeError, match="health: optimizer must be an Optimizer, got int 3"):
        te.health(model, loss, optimizer=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="health: optimizer must be an Optimizer, got the class SGD"):
        te.health(model, loss, optimizer=optim.SGD)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="health: model must be a Module, got the class Linear"):
        te.health(nn.Linear, loss)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="health: model must be a Module, got Tensor"):
        te.health(Tensor(1.0), model)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="health: loss must be a Tensor, got float"):
        te.health(model, 1.0)  # type: ignore[arg-type]
