"""The classroom network: its mathematics by hand, and that it is the MLP written out."""

import numpy as np
import pytest

import tinygrad_edu as te
from models import MLP, Layer, NeuralNetwork, Neuron
from tinygrad_edu import Tensor, nn


def test_one_weight_by_hand():
    """dL/dw = dL/da · da/dz · dz/dw, each factor worked out on paper, for L = (a - t)²."""
    neuron = Neuron(2)
    neuron.weights.data[:] = [0.5, -0.25]
    neuron.bias.data[...] = 0.1
    x, t = np.array([2.0, 1.0]), 3.0
    loss = (neuron(Tensor(x)) - t) ** 2
    loss.backward()

    z = 0.5 * 2.0 + -0.25 * 1.0 + 0.1
    a = max(z, 0.0)
    dL_da = 2 * (a - t)
    da_dz = 1.0  # z > 0: the relu lets the gradient through
    dz_dw = x[0]
    assert loss.item() == pytest.approx((a - t) ** 2, rel=1e-6)
    assert neuron.weights.grad.data[0] == pytest.approx(dL_da * da_dz * dz_dw, rel=1e-6)
    assert neuron.bias.grad.item() == pytest.approx(dL_da * da_dz * 1.0, rel=1e-6)


def test_one_weight_behind_a_hidden_neuron_by_hand():
    """The chain is longer by the output neuron: dL/dw = dL/da2 · dz2/da1 · da1/dz1 · dz1/dw."""
    network = NeuralNetwork([1, 1, 1])
    first, second = (layer.neurons[0] for layer in network.layers)
    for neuron, weight, bias in ((first, 0.8, 0.2), (second, -1.5, 0.3)):
        neuron.weights.data[:] = weight
        neuron.bias.data[...] = bias
    x, t = 0.5, 1.0
    loss = ((network(Tensor([[x]])) - t) ** 2).mean()
    loss.backward()
    a1 = 0.8 * x + 0.2
    a2 = -1.5 * a1 + 0.3
    assert first.weights.grad.data[0] == pytest.approx(2 * (a2 - t) * -1.5 * 1.0 * x, rel=1e-5)
    assert second.weights.grad.data[0] == pytest.approx(2 * (a2 - t) * a1, rel=1e-5)


def test_a_neuron_below_zero_is_silent_and_learns_nothing():
    neuron = Neuron(2)
    neuron.weights.data[:] = [-1.0, -1.0]
    out = neuron(Tensor([1.0, 2.0]))
    out.backward()
    assert out.item() == 0
    assert neuron.weights.grad.tolist() == [0, 0]


def test_shapes():
    te.manual_seed(0)
    assert Neuron(3)(Tensor(np.ones((5, 3)))).shape == (5,)
    assert Neuron(3)(Tensor(np.ones(3))).shape == ()
    assert Layer(3, 4)(Tensor(np.ones((5, 3)))).shape == (5, 4)
    network = NeuralNetwork([3, 4, 2])
    assert network(Tensor(np.ones((5, 3)))).shape == (5, 2)
    assert network.num_parameters() == (3 + 1) * 4 + (4 + 1) * 2
    assert network.predict(np.ones((5, 3))).shape == (5, 2)
    assert network.eval() is network


@pytest.mark.parametrize("sizes", [[3, 1], [6, 5, 4], [8, 7, 6, 3]])
def test_equal_weights_equal_outputs_and_gradients(sizes):
    te.manual_seed(1)
    classroom, mlp = NeuralNetwork(sizes), MLP(sizes)
    linear = [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
    for theirs, ours in zip(linear, classroom.layers, strict=True):
        theirs.weight.data[:] = [neuron.weights.data for neuron in ours.neurons]
        theirs.bias.data[:] = [neuron.bias.item() for neuron in ours.neurons]
    x = Tensor(np.random.default_rng(0).normal(size=(9, sizes[0])).astype(np.float32))
    outputs = classroom(x), mlp(x)
    np.testing.assert_allclose(outputs[0].data, outputs[1].data, rtol=1e-5, atol=1e-6)
    for output in outputs:
        ((output - 1) ** 2).mean().backward()
    for theirs, ours in zip(linear, classroom.layers, strict=True):
        weights = [neuron.weights.grad.data for neuron in ours.neurons]
        np.testing.assert_allclose(weights, theirs.weight.grad.data, rtol=1e-4, atol=1e-6)
        biases = [neuron.bias.grad.item() for neuron in ours.neurons]
        np.testing.assert_allclose(biases, theirs.bias.grad.data, rtol=1e-4, atol=1e-6)


def test_learning_is_plain_gradient_descent():
    te.manual_seed(0)
    network = NeuralNetwork([2, 3, 1])
    before = network.state_dict()
    x, t = Tensor([[1.0, 2.0], [0.5, -1.0]]), Tensor([[1.0], [0.0]])
    ((network(x) - t) ** 2).mean().backward()
    gradients = {name: w.grad.data.copy() for name, w in network.named_parameters()}
    network.zero_grad()
    network.learn(x, t, learning_rate=0.1)
    for name, w in network.named_parameters():
        np.testing.assert_array_equal(w.data, before[name] - np.float32(0.1) * gradients[name])
        assert w.grad is None


def test_it_learns_classes_and_numbers(capsys):
    te.manual_seed(0)
    X = np.random.default_rng(0).normal(size=(200, 2))
    right = X[:, 0] > X[:, 1]
    classifier = NeuralNetwork([2, 8, 2])
    losses = classifier.train(X, right.astype(int), epochs=20, learning_rate=0.3)
    assert losses[-1] < losses[0] / 3
    assert (classifier.predict(X).argmax(axis=1) == right).mean() > 0.95
    line = NeuralNetwork([2, 1])
    assert line.train(X, X @ [2.0, -3.0] + 1, epochs=20)[-1] < 1e-3
    assert "epoch 20/20  loss 0.0" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_losses():
    X, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2

    def losses():
        te.manual_seed(3)
        return NeuralNetwork([3, 4, 2]).train(X, y, epochs=3)

    assert losses() == losses()


def test_errors_name_the_numbers():
    with pytest.raises(ValueError, match="at least two layer sizes"):
        NeuralNetwork([3])
    network = NeuralNetwork([2, 3])
    with pytest.raises(ValueError, match="classes from 0 to 2, got 0 to 3"):
        network.train(np.ones((2, 2)), [0, 3])
    with pytest.raises(ValueError, match=r"or 3 numbers, got float64 \(2, 2\)"):
        network.train(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"as an integer \(y.astype\(int\)\), .* got float64 \(2,\)"):
        network.train(np.ones((2, 2)), [0.0, 1.0])
    for shape in ((4, 3), (4, 1), (4,), ()):  # one feature would broadcast to two, and nobody would see it
        with pytest.raises(ValueError, match="expected 2 numbers for each sample, got shape"):
            network.predict(np.ones(shape))
