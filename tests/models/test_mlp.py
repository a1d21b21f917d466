"""The MLP: its parts, and how well and how repeatably it learns the digits."""

import numpy as np
import pytest

from models import MLP
from models.datasets import digits
from models.mlp import ACTIVATIONS
from models.train import History, Settings, build, fit, predict
from tinygrad_edu import Tensor


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_shapes_and_gradients(activation):
    model = MLP([4, 5, 3, 2], activation)
    logits = model(Tensor(np.ones((6, 4), np.float32)))
    assert logits.shape == (6, 2)
    assert logits.dtype == np.float32
    (logits**2).sum().backward()
    assert all(w.grad is not None and w.grad.shape == w.shape for w in model.parameters())
    assert [w.shape for w in model.parameters()] == [(5, 4), (5,), (3, 5), (3,), (2, 3), (2,)]


def test_without_hidden_layers_it_is_linear():
    assert [name for name, _ in MLP([4, 2]).named_parameters()] == ["layers.0.weight", "layers.0.bias"]


def test_errors():
    with pytest.raises(ValueError, match=r"no activation 'rleu'; known are elu, gelu, .*relu.*tanh"):
        MLP([2, 2], "rleu")
    for sizes in ([], [3], [3, 0]):
        with pytest.raises(ValueError, match="expected sizes"):
            MLP(sizes)


def test_digits_reach_97_percent():
    data, settings = digits(), Settings()
    model, history = build(data, settings), History()
    fit(model, data, settings, history)
    assert history.test_accuracy[-1] >= 0.97
    assert history.train_loss[-1] < history.train_loss[0] / 2
    chances = predict(model, data.X_test)
    assert chances.shape == (len(data.X_test), 10)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)


def test_the_same_seed_repeats_every_bit():
    data = digits()

    def losses(seed):
        settings, history = Settings(epochs=2, seed=seed), History()
        fit(build(data, settings), data, settings, history)
        return history

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)
