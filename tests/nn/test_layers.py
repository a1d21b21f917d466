"""Layers: shapes, initial values, and agreement with PyTorch's layers of the same names."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.requires import require_torch
from tinygrad_edu import ShapeError, Tensor, nn

X = np.random.default_rng(0).normal(size=(2, 3, 4))
IDS = np.array([[0, 4, 4], [2, 0, 1]])

ACTIVATIONS: list[tuple[nn.Module, Callable[[Tensor], Tensor], str, dict[str, Any]]] = [
    (nn.ReLU(), F.relu, "ReLU", {}),
    (nn.LeakyReLU(), F.leaky_relu, "LeakyReLU", {}),
    (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3), "LeakyReLU", {"negative_slope": 0.3}),
    (nn.ELU(), F.elu, "ELU", {}),
    (nn.ELU(0.7), lambda x: F.elu(x, 0.7), "ELU", {"alpha": 0.7}),
    (nn.Sigmoid(), F.sigmoid, "Sigmoid", {}),
    (nn.Tanh(), F.tanh, "Tanh", {}),
    (nn.Softplus(), F.softplus, "Softplus", {}),
    (nn.SiLU(), F.silu, "SiLU", {}),
    (nn.GELU(), F.gelu, "GELU", {}),
    (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh"), "GELU", {"approximate": "tanh"}),
    (nn.Softmax(), F.softmax, "Softmax", {"dim": -1}),
    (nn.Softmax(1), lambda x: F.softmax(x, 1), "Softmax", {"dim": 1}),
]

# A layer of ours, how to make PyTorch's, and an input for both.
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any], np.ndarray]] = {
    "linear": (lambda: nn.Linear(4, 5, dtype=float), lambda t: t.Linear(4, 5), X),
    "linear without bias": (lambda: nn.Linear(4, 5, bias=False, dtype=float), lambda t: t.Linear(4, 5, bias=False), X),
    "linear of a vector": (lambda: nn.Linear(4, 5, dtype=float), lambda t: t.Linear(4, 5), X[0, 0]),
    "embedding": (lambda: nn.Embedding(5, 3, dtype=float), lambda t: t.Embedding(5, 3), IDS),
    "embedding of one id": (lambda: nn.Embedding(5, 3, dtype=float), lambda t: t.Embedding(5, 3), np.array(4)),
    "layer norm": (lambda: nn.LayerNorm(4, dtype=float), lambda t: t.LayerNorm(4), X),
    "layer norm, eps": (lambda: nn.LayerNorm(4, eps=0.1, dtype=float), lambda t: t.LayerNorm(4, eps=0.1), X),
    "layer norm, no bias": (lambda: nn.LayerNorm(4, bias=False, dtype=float), lambda t: t.LayerNorm(4, bias=False), X),
    "stack": (
        lambda: nn.Sequential(nn.Linear(4, 5, dtype=float), nn.GELU(), nn.LayerNorm(5, dtype=float)),
        lambda t: t.Sequential(t.Linear(4, 5), t.GELU(), t.LayerNorm(5)),
        X,
    ),
}


class TestParity:
    @pytest.mark.parametrize("name", LAYERS)
    def test_output_and_gradients_are_those_of_pytorch(self, name: str) -> None:
        torch = require_torch()
        make, make_theirs, array = LAYERS[name]
        ours, theirs = make(), make_theirs(torch.nn).double()
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.uniform_(-1, 1)  # LayerNorm starts at 1 and 0, where little can go wrong
        ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
        floats = array.dtype.kind == "f"
        x, their_x = Tensor(array, requires_grad=floats), torch.tensor(array, requires_grad=floats)
        y, their_y = ours(x), theirs(their_x)
        np.testing.assert_allclose(y.data, their_y.detach().numpy(), rtol=1e-10, atol=1e-12)

        upstream = np.cos(np.arange(y.size)).reshape(y.shape)
        y.backward(upstream)
        their_y.backward(torch.tensor(upstream))
        gradients = {name: p.grad.data for name, p in ours.named_parameters()}
        their_gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        assert gradients.keys() == their_gradients.keys()
        if floats:
            gradients["x"], their_gradients["x"] = x.grad.data, their_x.grad.numpy()
        for key, gradient in gradients.items():
            np.testing.assert_allclose(gradient, their_gradients[key], rtol=1e-9, atol=1e-12, err_msg=key)

    @pytest.mark.parametrize(("module", "function", "theirs", "options"), ACTIVATIONS)
    def test_activations(
        self, module: nn.Module, function: Callable[[Tensor], Tensor], theirs: str, options: dict[str, Any]
    ) -> None:
        torch = require_torch()
        expected = getattr(torch.nn, theirs)(**options)(torch.tensor(X)).numpy()
        np.testing.assert_allclose(module(Tensor(X)).data, expected, rtol=1e-6, atol=1e-9)

    def test_the_starting_values_of_linear_and_embedding_are_spread_as_in_pytorch(self) -> None:
        torch = require_torch()
        te.manual_seed(0)
        torch.manual_seed(0)
        for ours, theirs in [
            (nn.Linear(64, 500), torch.nn.Linear(64, 500)),
            (nn.Embedding(500, 64), torch.nn.Embedding(500, 64)),
        ]:
            for name, value in theirs.state_dict().items():
                mine = ours.state_dict()[name]
                assert mine.std() == pytest.approx(float(value.std()), rel=0.1)
                assert abs(mine.mean()) < 0.02


@pytest.mark.parametrize(("module", "function", "theirs", "options"), ACTIVATIONS)
def test_an_activation_is_its_function(
    module: nn.Module, function: Callable[[Tensor], Tensor], theirs: str, options: dict[str, Any]
) -> None:
    x = Tensor(X)
    y = module(x)
    np.testing.assert_array_equal(y.data, function(x).data)
    assert y.shape == X.shape
    assert list(module.parameters()) == []


class TestLinear:
    def test_is_x_times_the_transposed_weight_plus_bias(self) -> None:
        layer = nn.Linear(4, 5, dtype=np.float64)
        assert (layer.weight.shape, layer.bias.shape) == ((5, 4), (5,))
        np.testing.assert_allclose(layer(Tensor(X)).data, X @ layer.weight.data.T + layer.bias.data)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_dtype(self, dtype: Any) -> None:
        layer = nn.Linear(4, 5, dtype=dtype)
        assert {p.dtype for p in layer.parameters()} == {np.dtype(dtype)}
        assert layer(Tensor(X.astype(dtype))).dtype == dtype

    def test_starts_uniform_within_one_over_the_root_of_its_inputs(self) -> None:
        te.manual_seed(0)
        for parameter in nn.Linear(100, 2000).parameters():
            values = np.abs(parameter.data)
            assert 0.099 < values.max() <= np.float32(0.1)
            assert values.mean() == pytest.approx(0.05, rel=0.05)
            assert abs(parameter.data.mean()) < 0.005

    def test_the_seed_decides(self) -> None:
        def weight(seed: int) -> Any:
            te.manual_seed(seed)
            return nn.Linear(3, 3).weight.tolist()

        assert weight(1) == weight(1) != weight(2)

    def test_without_inputs_only_the_bias_is_left(self) -> None:
        assert nn.Linear(0, 3)(Tensor(np.empty((2, 0), np.float32))).tolist() == [[0, 0, 0]] * 2

    def test_a_wrong_input_is_explained(self) -> None:
        with pytest.raises(ShapeError, match=r"linear \(in Linear\(3 → 5\)\).*float64 \(2, 3, 4\)"):
            nn.Linear(3, 5)(Tensor(X))


class TestEmbedding:
    def test_looks_rows_up(self) -> None:
        table = nn.Embedding(5, 3)
        assert table.weight.shape == (5, 3)
        np.testing.assert_array_equal(table(IDS).data, table.weight.data[IDS])
        np.testing.assert_array_equal(table(Tensor(IDS)).data, table(IDS.tolist()).data)

    def test_starts_as_the_normal_distribution(self) -> None:
        te.manual_seed(0)
        values = nn.Embedding(1000, 100).weight.data
        assert (values.mean(), values.std()) == pytest.approx((0, 1), abs=0.02)
        assert (np.abs(values) < 1).mean() == pytest.approx(0.6827, abs=0.01)

    @pytest.mark.parametrize("wrong", [5, -1])
    def test_an_id_outside_of_the_table_is_refused(self, wrong: int) -> None:
        with pytest.raises(IndexError, match=f"id {wrong} is out of range: there are 5 rows"):
            nn.Embedding(5, 3)([0, wrong])

    def test_ids_are_integers(self) -> None:
        with pytest.raises(TypeError, match="ids must be integers, got float32"):
            nn.Embedding(5, 3)(Tensor([1.0]))


class TestLayerNorm:
    def test_rows_get_mean_zero_and_variance_one(self) -> None:
        layer = nn.LayerNorm(4, eps=0.0)
        assert (layer.weight.tolist(), layer.bias.tolist()) == ([1] * 4, [0] * 4)
        y = layer(Tensor(5 + 3 * X)).data
        np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-6)
        np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-5)

    def test_only_the_last_axis(self) -> None:
        with pytest.raises(TypeError, match=r"normalized_shape is its length, got \(3, 4\)"):
            nn.LayerNorm((3, 4))  # type: ignore[arg-type]


class TestDropout:
    def test_drops_the_share_p_and_scales_the_rest(self) -> None:
        te.manual_seed(0)
        y = nn.Dropout(0.2)(Tensor(np.ones((200, 200)))).data
        assert set(np.unique(y)) == {0, 1.25}
        assert (y == 0).mean() == pytest.approx(0.2, abs=0.01)
        assert y.mean() == pytest.approx(1, abs=0.01)

    def test_does_nothing_in_evaluation(self) -> None:
        x = Tensor(X)
        model = nn.Sequential(nn.Dropout(0.9)).eval()
        np.testing.assert_array_equal(model(x).data, X)
        assert not np.array_equal(model.train()(x).data, X)

    @pytest.mark.parametrize(("p", "expected"), [(0, 1), (1, 0)])
    def test_the_ends(self, p: float, expected: float) -> None:
        x = Tensor(X, requires_grad=True)
        y = nn.Dropout(p)(x)
        y.sum().backward()
        np.testing.assert_array_equal(y.data, X * expected)
        np.testing.assert_array_equal(x.grad.data, np.full(X.shape, expected))

    def test_the_gradient_passes_where_nothing_was_dropped(self) -> None:
        x = Tensor(X, requires_grad=True)
        y = nn.Dropout(0.5)(x)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.data, y.data / X)

    def test_the_seed_decides_and_each_call_differs(self) -> None:
        layer, x = nn.Dropout(), Tensor(np.ones(64))

        def draws(seed: int) -> list[Any]:
            te.manual_seed(seed)
            return [layer(x).tolist() for _ in range(2)]

        first, second = draws(3)
        assert first != second
        assert draws(3) == [first, second]
        assert draws(4) != [first, second]

    @pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
    def test_p_is_a_probability(self, p: float) -> None:
        with pytest.raises(ValueError, match="p is a probability"):
            nn.Dropout(p)


def test_softmax_along_a_dim_of_pytorch() -> None:
    with pytest.raises(te.InputError, match=r"^Softmax: there is no option dim=1: write axis=1, as in NumPy$"):
        nn.Softmax(dim=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(2.0, 3), (-2, 3), (2, "3")])
@pytest.mark.parametrize("layer", [nn.Linear, nn.Embedding])
def test_sizes_are_whole_numbers(layer: Any, sizes: Any) -> None:
    with pytest.raises(ValueError, match=rf"{layer.__name__}: .* must be a whole number"):
        layer(*sizes)
