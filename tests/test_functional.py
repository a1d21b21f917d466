"""F: what the losses, dropout and attention promise beyond their formulas, and what they say when they are misused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.samples import attended, real
from tinygrad_edu import ShapeError, Tensor


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(real(*shape, seed=seed), requires_grad=True)


# Losses --------------------------------------------------------------------------------------------------------------


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes() -> None:
    assert F.cross_entropy(Tensor(np.zeros((4, 10))), np.arange(4)).item() == pytest.approx(math.log(10))


def test_a_target_that_is_ignored_counts_for_nothing() -> None:
    logits = leaf(4, 3)
    target = np.array([0, -100, 2, -100])
    loss = F.cross_entropy(logits, target)
    kept = F.cross_entropy(logits[[0, 2]], target[[0, 2]])
    assert loss.item() == pytest.approx(kept.item())
    (g,) = te.grad(loss, [logits])
    assert not g.data[[1, 3]].any()
    assert F.cross_entropy(logits, target, reduction="none").data[[1, 3]].tolist() == [0, 0]


def test_when_every_target_is_ignored_the_mean_is_nan_and_the_gradient_zero() -> None:
    logits = leaf(2, 3)
    loss = F.cross_entropy(logits, np.array([-100, -100]))
    assert math.isnan(loss.item())
    assert not te.grad(loss, [logits])[0].data.any()
    assert F.cross_entropy(logits, np.array([-100, -100]), reduction="sum").item() == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_classes_and_one_hot_probabilities_agree(smoothing: float) -> None:
    logits, target = leaf(5, 3), np.array([0, 2, 1, 1, 0])
    hard = F.cross_entropy(logits, target, label_smoothing=smoothing)
    soft = F.cross_entropy(logits, np.eye(3)[target], label_smoothing=smoothing)
    assert hard.item() == pytest.approx(soft.item(), rel=1e-12)
    np.testing.assert_allclose(te.grad(hard, [logits])[0].data, te.grad(soft, [logits])[0].data, rtol=1e-9, atol=1e-12)


def test_the_axis_of_the_classes_can_be_any() -> None:
    logits, target = leaf(2, 5, 3), np.array([[0, 1, 2, 1, 0], [2, 2, 1, 0, 0]])
    expected = F.cross_entropy(logits.reshape(10, 3), target.reshape(10)).item()
    for axis in range(3):
        moved = logits.transpose(*{0: (2, 0, 1), 1: (0, 2, 1), 2: (0, 1, 2)}[axis])
        assert F.cross_entropy(moved, target, axis=axis).item() == pytest.approx(expected)
        assert F.cross_entropy(moved, target, axis=axis - 3).item() == pytest.approx(expected)
    assert te.gradcheck(lambda x: F.cross_entropy(x, target, axis=-1), logits, order=2)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_targets_are_integers_of_any_kind(dtype: Any) -> None:
    logits, target = leaf(3, 3), np.array([0, 2, 1], dtype)
    expected = F.cross_entropy(logits, [0, 2, 1]).item()
    assert F.cross_entropy(logits, target).item() == F.cross_entropy(logits, Tensor(target)).item() == expected


def test_the_gradient_reaches_probabilities_too() -> None:
    logits, target = leaf(2, 3), F.softmax(leaf(2, 3, seed=1)).detach()
    assert te.gradcheck(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), logits, target, order=2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.cross_entropy(leaf(2, 3), [0, 3]), IndexError, ["cross_entropy", "target 3", "0 to 2", "(2, 3)"]),
        (lambda: F.cross_entropy(leaf(2, 3), [0, -1]), IndexError, ["cross_entropy", "target -1", "0 to 2"]),
        (lambda: F.cross_entropy(leaf(2, 5, 3), np.zeros((2, 5), int)), ShapeError, ["(2, 3)", "(2, 5)", "axis=-1"]),
        (lambda: F.cross_entropy(leaf(2, 3), np.zeros((2, 2))), ShapeError, ["cross_entropy", "(2, 3)", "(2, 2)"]),
        (lambda: F.cross_entropy(leaf(2, 3), [0.0, 1.0]), TypeError, ["cross_entropy", "astype(int)"]),
        (lambda: F.cross_entropy(leaf(2, 3), [True, False]), TypeError, ["cross_entropy", "integers", "bool"]),
        (lambda: F.cross_entropy([0, 1], leaf(2, 3)), ShapeError, ["(2,) and (2, 3) look swapped: the logits come"]),
        (lambda: F.cross_entropy(1, leaf(3)), ShapeError, ["() and (3,) look swapped"]),
        (lambda: F.cross_entropy(leaf(2, 5), leaf(2, 3, 5)), ShapeError, ["look swapped"]),
        (
            lambda: F.cross_entropy(leaf(3), leaf(2, 5, 3)),
            ShapeError,
            ["target must have the shape (...)", "(2, 5, 3)"],
        ),
        (lambda: F.softmax(leaf(2, 3), dim=1), TypeError, ["softmax: there is no option dim=1: write axis=1"]),
        (lambda: F.log_softmax(leaf(2, 3), dim=1), TypeError, ["log_softmax", "write axis=1"]),
        (lambda: F.logsumexp(leaf(2, 3), dim=1), TypeError, ["logsumexp", "write axis=1"]),
        (lambda: F.norm(leaf(2, 3), dim=1, keepdim=True), TypeError, ["norm", "write axis=1 and keepdims=True"]),
        (lambda: F.cross_entropy(leaf(2, 3), [0, 1], axis=2), ShapeError, ["cross_entropy", "(2, 3)", "axis 2"]),
        (lambda: F.cross_entropy(leaf(2, 3), [0, 1], reduction="men"), ValueError, ["reduction", '"mean"', "'men'"]),
        (lambda: F.mse_loss(leaf(2, 1), leaf(2)), ShapeError, ["mse_loss", "(2, 1)", "(2,)", "Reshape"]),
        (lambda: F.mse_loss(leaf(2), leaf(2), reduction="x"), ValueError, ["mse_loss", "reduction", "'x'"]),
        (
            lambda: F.binary_cross_entropy_with_logits(leaf(2, 1), np.ones(2)),
            ShapeError,
            ["binary_cross_entropy_with_logits", "(2, 1)", "(2,)"],
        ),
        (lambda: F.embedding([0, 7], leaf(3, 2)), IndexError, ["embedding", "id 7", "3 rows", "0 to 2", "(3, 2)"]),
        (lambda: F.embedding([-1], leaf(3, 2)), IndexError, ["embedding", "id -1"]),
        (lambda: F.embedding([0.5], leaf(3, 2)), TypeError, ["embedding", "integers", "float64"]),
        (lambda: F.linear(leaf(2, 3), leaf(3, 4)), ShapeError, ["linear", "in_features=4", "got 3", "weight.T"]),
        (lambda: F.linear(leaf(2, 5), leaf(3, 4)), ShapeError, ["linear", "in_features=4", "got 5"]),
        (lambda: F.linear(leaf(3), leaf(3)), ShapeError, ["linear", "(out_features, in_features)", "(3,)"]),
        (lambda: F.linear(leaf(2, 3), leaf(4, 3), leaf(3)), ShapeError, ["linear", "bias", "(4,)", "(3,)"]),
        (lambda: F.layer_norm(leaf(2, 3), leaf(1)), ShapeError, ["layer_norm", "weight", "(3,)", "(1,)"]),
        (lambda: F.layer_norm(leaf(2, 3), leaf(2)), ShapeError, ["layer_norm", "weight", "(3,)", "(2,)"]),
        (
            lambda: F.scaled_dot_product_attention(leaf(4, 2), leaf(3, 5), leaf(3, 2)),
            ShapeError,
            ["attention", "query (4, 2)", "key (3, 5)", "(..., S, D)"],
        ),
        (
            lambda: F.scaled_dot_product_attention(leaf(4, 2), leaf(3, 2), leaf(3, 2), np.ones((3, 4), bool)),
            ShapeError,
            ["attention", "mask (3, 4)", "(..., T, S)"],
        ),
        (lambda: F.dropout(leaf(2), 1.5), ValueError, ["dropout", "probability", "1.5"]),
        (lambda: F.gelu(leaf(2), "fast"), ValueError, ["gelu", '"tanh"', "'fast'"]),  # type: ignore[arg-type]
        (lambda: F.norm(leaf(2), 3), ValueError, ["norm", "infinity", "got 3"]),
        (lambda: F.softmax(leaf(2), 3), ShapeError, ["softmax", "axis 3"]),
    ],
)
def test_errors_teach(call: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert [word for word in words if word not in str(caught.value)] == []


# Dropout -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p: float) -> None:
    te.manual_seed(0)
    x = Tensor(np.ones(200_000, np.float32), requires_grad=True)
    y = F.dropout(x, p)
    np.testing.assert_allclose(np.unique(y.data), [0, 1 / (1 - p)], rtol=1e-6)
    assert np.mean(y.data == 0) == pytest.approx(p, abs=0.01)
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    (g,) = te.grad(y.sum(), [x])
    np.testing.assert_array_equal(g.data, y.data)  # the same elements, the same scale


def test_dropout_does_nothing_when_it_is_not_training_and_the_seed_repeats_it() -> None:
    x = leaf(3, 4)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).data.any()
    te.manual_seed(1)
    first = F.dropout(x, 0.5).data
    te.manual_seed(1)
    np.testing.assert_array_equal(F.dropout(x, 0.5).data, first)


# Attention -----------------------------------------------------------------------------------------------------------

q, k, v = real(2, 4, 3), real(2, 4, 3, seed=1), real(2, 4, 5, seed=2)


def test_causal_attention_cannot_see_the_future() -> None:
    full = F.scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), is_causal=True).data
    for t in range(1, 5):
        part = F.scaled_dot_product_attention(Tensor(q[:, :t]), Tensor(k[:, :t]), Tensor(v[:, :t]), is_causal=True)
        np.testing.assert_allclose(part.data, full[:, :t], rtol=1e-12)


def test_true_means_may_attend_and_minus_infinity_means_the_same_as_false() -> None:
    may = real(4, 4, seed=3) > -0.5
    boolean = F.scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), may)
    added = F.scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), np.where(may, 0.0, -np.inf))
    np.testing.assert_allclose(boolean.data, attended(q, k, v, may, False), rtol=1e-12)
    np.testing.assert_allclose(boolean.data, added.data, rtol=1e-12)


@pytest.mark.parametrize("nothing", [np.zeros((4, 4), bool), np.full((4, 4), -np.inf)], ids=["boolean", "added"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_who_may_attend_to_nothing_gets_zeros_and_gives_no_gradient(nothing: Any, create_graph: bool) -> None:
    inputs = [Tensor(x, requires_grad=True) for x in (q, k, v)]
    y = F.scaled_dot_product_attention(*inputs, attn_mask=nothing)
    assert not y.data.any()
    for g in te.grad(y, inputs, np.ones(y.shape), create_graph=create_graph):
        assert not g.data.any()


def test_a_mask_of_keys_alone_holds_for_every_query() -> None:
    q, k, v = (Tensor(real(2, 3, 4, seed=i)) for i in range(3))
    keys = np.array([True, False, True])
    y = F.scaled_dot_product_attention(q, k, v, keys)
    spelled_out = F.scaled_dot_product_attention(q, k, v, np.broadcast_to(keys, (2, 3, 3)))
    np.testing.assert_array_equal(y.data, spelled_out.data)


def test_a_mask_that_is_added_has_a_gradient() -> None:
    f = F.scaled_dot_product_attention
    assert te.gradcheck(lambda m: f(Tensor(q), Tensor(k), Tensor(v), m, is_causal=True), real(4, 4), order=2)


def test_a_mask_written_as_a_list_does_not_change_the_dtype() -> None:
    x = Tensor(np.ones((2, 2), np.float32))
    for mask in ([[True, False], [True, True]], [[0.0, -1.0], [0.0, 0.0]]):
        assert F.scaled_dot_product_attention(x, x, x, mask).dtype == np.float32  # type: ignore[arg-type]


def test_dropout_in_attention_drops_weights() -> None:
    te.manual_seed(0)
    ones = Tensor(np.ones((1, 50, 2))), Tensor(np.ones((1, 400, 2))), Tensor(np.ones((1, 400, 1)))
    y = F.scaled_dot_product_attention(*ones, dropout_p=0.5).data
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert y.std() > 0.01
    assert F.scaled_dot_product_attention(*ones).data.std() < 1e-12


# Norms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ord", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_norm_is_numpys_and_has_its_gradient(ord: float, axis: int | None) -> None:
    x = real(3, 4)
    expected = np.linalg.norm(x.ravel() if axis is None else x, ord, axis)
    np.testing.assert_allclose(F.norm(Tensor(x), ord, axis).data, expected, rtol=1e-12)
    assert te.gradcheck(lambda x: F.norm(x, ord, axis), x)


# Half precision, empty axes, and other corners -----------------------------------------------------------------------


def test_attention_keeps_float16() -> None:
    x = Tensor(real(2, 3, 4).astype(np.float16), requires_grad=True)
    assert F.scaled_dot_product_attention(x, x, x, is_causal=True).dtype == np.float16


def test_cross_entropy_in_float16_counts_beyond_its_largest_number() -> None:
    logits = Tensor(np.zeros((70_000, 2), np.float16), requires_grad=True)
    loss = F.cross_entropy(logits, np.zeros(70_000, int))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.data[0, 0] == pytest.approx(-0.5 / 70_000, rel=0.01)


def test_linear_without_inputs_is_its_bias() -> None:
    x, weight, bias = leaf(2, 0), leaf(3, 0), leaf(3)
    y = F.linear(x, weight, bias)
    y.sum().backward()
    np.testing.assert_array_equal(y, np.stack([bias.data, bias.data]))
    assert weight.grad is not None
    assert weight.grad.shape == (3, 0)


@pytest.mark.parametrize("create_graph", [False, True])
def test_logsumexp_of_nothing_possible_has_no_gradient(create_graph: bool) -> None:
    x = Tensor([[-math.inf, -math.inf], [0.0, -math.inf]], requires_grad=True)
    y = F.logsumexp(x, 1)
    assert y.tolist() == [-math.inf, 0]
    assert te.grad(y, [x], np.ones(2), create_graph=create_graph)[0].tolist() == [[0, 0], [1, 0]]


def test_lists_and_arrays_are_welcome() -> None:
    assert F.cross_entropy([[0.0, 0.0]], [1]).item() == pytest.approx(math.log(2))  # type: ignore[arg-type]
    assert F.norm(np.array([-3.0, 4.0]), ord=1).item() == 7  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.linear(leaf(2, 3), leaf(2, 4, 3)), ShapeError, ["(out_features, in_features)", "(2, 4, 3)"]),
        (lambda: F.linear(leaf(2, 3), leaf(4, 3), 1.0), TypeError, ["linear", "expected tensors or arrays", "1.0"]),
        (lambda: F.linear(leaf(2, 3), 1.0), TypeError, ["linear", "expected tensors or arrays", "1.0"]),  # type: ignore[arg-type]
        (lambda: F.softmax(1.0), TypeError, ["softmax", "expected tensors or arrays"]),
        (lambda: F.layer_norm(leaf()), ShapeError, ["layer_norm", "needs a last axis"]),
        (
            lambda: F.cross_entropy(leaf(2, 3), [0, 1], label_smoothing=2),
            ValueError,
            ["label_smoothing", "from 0 to 1"],
        ),
        (
            lambda: F.scaled_dot_product_attention(leaf(2, 3), leaf(2, 3), leaf(2, 3), np.ones((2, 2), int)),
            TypeError,
            ["attn_mask", "int64", "mask.astype(bool)"],
        ),
    ],
)
def test_errors_in_corners_teach_too(call: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_mse_loss_takes_a_number_on_either_side() -> None:
    target = leaf(1).sum()
    F.mse_loss(3.0, target).backward()
    left = target.detach().requires_grad_()
    F.mse_loss(left, 3.0).backward()
    assert left.grad is not None
    assert left.grad.item() == 2 * (left.item() - 3)
