"""Tensor as NumPy's users know arrays: constructing, printing, indexing, NumPy's functions, and errors that teach."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from tests.requires import require_torch
from tests.samples import real
from tinygrad_edu import GraphError, ShapeError, Tensor, optim


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(real(*shape, seed=seed), requires_grad=True)


# Making one ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([[1, 2.5]], np.float32),
        ([], np.float32),
        (1, np.int64),
        ([1, 2], np.int64),
        (True, np.bool_),
        (np.array([1.0]), np.float64),
        (np.array([1.0], np.float32), np.float32),
        (np.array([1], np.int32), np.int32),
        (np.float64(1.0), np.float64),
        (np.float32(1.0), np.float32),
        (Tensor(np.array([1.0])), np.float64),
    ],
)
def test_python_floats_become_float32_and_arrays_keep_their_dtype(data: Any, dtype: Any) -> None:
    assert Tensor(data).dtype == dtype
    assert Tensor(data, dtype=np.float64).dtype == np.float64


def test_data_is_copied() -> None:
    array = np.zeros(2)
    x = Tensor(array)
    array[0] = 1
    assert x.tolist() == [0, 0]
    y = Tensor(x)
    y.data[0] = 1
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Tensor([1, 2], requires_grad=True), TypeError, ["int64", "1.0"]),
        (lambda: Tensor(True, requires_grad=True), TypeError, ["bool", "1.0"]),
        (lambda: Tensor([1]).requires_grad_(), TypeError, ["int64", "1.0"]),
        (lambda: Tensor([[1.0], [1.0, 2.0]]), ShapeError, ["Tensor", "different lengths"]),
        (lambda: Tensor("text"), TypeError, ["Tensor", "numbers", "'text'"]),
        (lambda: Tensor([1j]), TypeError, ["Tensor", "real", "complex"]),
        (lambda: Tensor([leaf(1), leaf(1)]), TypeError, ["te.stack"]),
    ],
)
def test_what_cannot_be_a_tensor(call: Any, error: type[Exception], words: list[str]) -> None:
    teaches(call, error, words)


def teaches(call: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


# Looking at one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (Tensor(1.0), "Tensor(1.)"),
        (Tensor([1, 2]), "Tensor([1, 2])"),
        (Tensor([True]), "Tensor([ True])"),
        (Tensor(np.array([1.0])), "Tensor([1.], dtype=float64)"),
        (Tensor([1.0], requires_grad=True), "Tensor([1.], requires_grad=True)"),
        (Tensor([1.0], name="w"), "Tensor([1.], name='w')"),
        (Tensor([1.0], requires_grad=True) * 2, "Tensor([2.], made by mul (1,))"),
        (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr_says_what_made_it(tensor: Tensor, text: str) -> None:
    assert repr(tensor) == text
    assert str(tensor) == str(tensor.data)


def test_shape_and_numbers() -> None:
    x = Tensor([[1.0, 2.0, 3.0]])
    assert (x.shape, x.ndim, x.size, len(x)) == ((1, 3), 2, 3, 1)
    assert [row.tolist() for row in x] == [[1, 2, 3]]
    assert x.tolist() == x.numpy().tolist() == [[1, 2, 3]]
    one = Tensor([[2.5]])
    assert (one.item(), float(one), int(one), bool(one), bool(one * 0)) == (2.5, 2.5, 2, True, False)
    assert f"{one:.2f} {x}" == "2.50 [[1. 2. 3.]]"
    assert [10, 20, 30][Tensor(1)] == 20
    assert isinstance(one.item(), float)
    assert isinstance(Tensor(3).item(), int)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: leaf(2, 3).item(), ShapeError, ["item", "(2, 3)", "6 elements"]),
        (lambda: float(leaf(2)), ShapeError, ["(2,)"]),
        (lambda: bool(leaf(2)), ValueError, ["(2,)", ".any()"]),
        (lambda: len(leaf()), TypeError, ["no length"]),
        (lambda: list(leaf()), TypeError, ["no length"]),
        (lambda: [1, 2][Tensor(1.0)], TypeError, ["integer", "float32"]),  # type: ignore[call-overload]
    ],
)
def test_what_it_cannot_be_read_as(call: Any, error: type[Exception], words: list[str]) -> None:
    teaches(call, error, words)


def test_comparisons_are_elementwise_and_tensors_are_still_keys() -> None:
    x = Tensor([1.0, 2.0, 3.0])
    for found, expected in [
        (x == 2, [False, True, False]),
        (x != 2, [True, False, True]),
        (x < 2, [True, False, False]),
        (x <= x, [True, True, True]),
        (2 > x, [True, False, False]),
        (x >= np.array([3.0, 2.0, 1.0]), [False, True, True]),
    ]:
        assert found.dtype == bool
        assert not found.requires_grad
        assert found.tolist() == expected
    twin = Tensor(x)
    assert {x: "x", twin: "twin"}[x] == "x"
    assert len({x, twin, x}) == 2
    assert (x == "text") is False
    assert (x == None) is False  # noqa: E711


# Changing one --------------------------------------------------------------------------------------------------------


def test_assigning_elements() -> None:
    x = Tensor([1.0, 2.0, 3.0])
    x[0] = 5
    x[[1, 2]] = Tensor([6.0, 7.0])
    assert x.tolist() == [5, 6, 7]
    x[x > 5.5] = 0.0
    assert x.tolist() == [5, 0, 0]
    w = leaf(2)
    with te.no_grad():
        w[0] = 1.0
    assert w.data[0] == 1.0


@pytest.mark.parametrize("make", [lambda: leaf(2), lambda: leaf(2) * 2], ids=["leaf", "made"])
def test_assigning_into_a_graph_is_refused(make: Any) -> None:
    def assign(x: Any, value: Any) -> None:
        x[0] = value

    teaches(lambda: assign(make(), 1.0), GraphError, ["te.where", "no_grad"])
    teaches(lambda: assign(Tensor([1.0]), make()[0]), GraphError, ["te.where"])


def test_data_can_be_replaced_by_its_like() -> None:
    x = leaf(2)
    x.data = [3, 4]  # type: ignore[assignment]
    assert x.dtype == np.float64
    assert x.tolist() == [3, 4]
    assert x.requires_grad
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        x.data = np.zeros(3)
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        x.grad = Tensor(np.zeros(3))


DUPLICATES = [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_copy_is_an_independent_leaf_with_the_same_value(duplicate: Any) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    x.register_hook(lambda g: g * 2)
    (x * 2).sum().backward()
    other = duplicate(x)
    assert type(other) is Tensor
    assert other.is_leaf
    assert other.requires_grad
    assert (other.name, other.tolist(), other.grad.tolist()) == ("x", [1, 2], [4, 4])
    other.data[0], other.grad.data[0] = 7, 7
    assert (x.tolist(), x.grad.tolist()) == ([1, 2], [4, 4])
    (other * 2).sum().backward()
    assert other.grad.tolist() == [9, 6]  # hooks stay with the original
    for plain in (Tensor(3), Tensor(True), Tensor(np.zeros((0, 2)))):
        assert duplicate(plain).dtype == plain.dtype
        np.testing.assert_array_equal(duplicate(plain), plain)


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_copy_that_would_lose_its_history_is_refused(duplicate: Any) -> None:
    y = Tensor([1.0, 2.0], requires_grad=True) * 2
    with pytest.raises(GraphError, match=r"mul \(2,\).*was recorded, and a copy would lose.*x\.detach\(\)"):
        duplicate(y)
    assert duplicate(y.detach()).tolist() == [2, 4]


class Tagged(Tensor):
    """A subclass with an attribute of its own."""


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_subclass_keeps_what_it_adds(duplicate: Any) -> None:
    x = Tagged([1.0])
    x.tag = "mine"
    assert (type(duplicate(x)), duplicate(x).tag) == (Tagged, "mine")


@pytest.mark.parametrize("value", [[1.0, 2.0], 3.0, np.float64(3), np.arange(6).reshape(2, 3).T])
def test_as_an_array_it_shares_memory_unless_a_copy_is_asked_for(value: Any) -> None:
    x = Tensor(value)
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.shares_memory(np.asarray(x, copy=False), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float16).dtype == np.float16
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float16, copy=False)
    total = x.sum()  # NumPy's scalar, until somebody asks for an array
    assert np.shares_memory(np.asarray(total, copy=False), total.data)


def test_dlpack_shares_memory_with_other_libraries() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.data)
    y = te.from_dlpack(x.T)
    assert y.tolist() == [[1, 3], [2, 4]]
    x.data[0, 1] = 7
    assert y.tolist() == [[1, 3], [7, 4]]
    assert te.from_dlpack(Tensor(3.0)).item() == 3


def test_dlpack_refuses_what_cannot_be_shared() -> None:
    w = Tensor([1.0], requires_grad=True)
    for tensor in (w, w * 2):
        with pytest.raises(BufferError, match=r"the gradient would end.*detach"):
            np.from_dlpack(tensor)
        with pytest.raises(TypeError, match=r"^from_dlpack: the gradient would end.*detach"):
            te.from_dlpack(tensor)
        np.testing.assert_array_equal(np.from_dlpack(tensor.detach()), tensor.data)
    for other, reason in (([1, 2], "list cannot be shared"), (np.ones(2, complex), "complex128"), (np.array("a"), "")):
        with pytest.raises(TypeError, match=f"^from_dlpack: .*{reason}"):
            te.from_dlpack(other)


def test_dlpack_both_ways_with_torch() -> None:
    torch = require_torch()
    x = Tensor(np.arange(6.0).reshape(2, 3))
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 9
    assert x.data[0, 0] == 9
    ours = te.from_dlpack(theirs.T)
    ours.data[1, 1] = 8
    assert theirs[1, 1] == 8
    w = te.from_dlpack(torch.ones(3)).requires_grad_()
    (w * w).sum().backward()
    optim.SGD([w], lr=0.5).step()  # into PyTorch's memory
    assert w.tolist() == [0, 0, 0]
    for wrong in (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, requires_grad=True)):
        with pytest.raises(TypeError, match=r"^from_dlpack: "):
            te.from_dlpack(wrong)


def test_detach_shares_the_array_and_astype_carries_the_gradient() -> None:
    x = leaf(2)
    assert x.detach().data is x.data
    assert not x.detach().requires_grad
    y = x.astype(np.float32) * 2
    assert y.dtype == np.float32
    (g,) = te.grad(y.sum(), [x])
    assert g.dtype == np.float64
    assert not x.astype(int).requires_grad


# NumPy's functions ---------------------------------------------------------------------------------------------------

a, b = real(2, 3, low=0.5), np.abs(real(2, 3, seed=1)) + 0.5


@pytest.mark.parametrize(
    "f",
    [
        np.exp, np.log1p, np.expm1, np.sin, np.cos, np.tanh, np.square, np.abs, np.negative, np.sign,
        lambda x: np.add(x, b), lambda x: b - x, lambda x: b * x, lambda x: b / (x + 9), lambda x: np.power(b, x),
        lambda x: np.maximum(b, x), lambda x: np.minimum(x, 0.1), lambda x: b.T @ x, lambda x: x @ b.T,
        lambda x: np.matmul(b.T, x), lambda x: b[0] @ x.T,
        lambda x: np.float64(2) * x, lambda x: x / np.float64(2), lambda x: np.float32(3) - x,
        np.sum, np.mean, np.var, np.std, np.prod, np.max, np.min, np.amax, np.cumsum, np.argmax, np.argmin,
        lambda x: np.sum(x, axis=0, keepdims=True), lambda x: np.mean(x, 1), lambda x: np.std(x, axis=0, ddof=1),
        np.transpose, lambda x: np.reshape(x, (3, 2)), lambda x: np.swapaxes(x, 0, 1), lambda x: np.flip(x, 1),
        lambda x: np.roll(x, 1, 0), lambda x: np.pad(x, 1), lambda x: np.repeat(x, 2, 1),
        lambda x: np.expand_dims(x, 0), lambda x: np.squeeze(x[:1]), lambda x: np.broadcast_to(x, (2, 2, 3)),
        np.tril, lambda x: np.triu(x, 1),
        lambda x: np.clip(x, -0.5, 0.5), lambda x: np.concatenate([x, b]), lambda x: np.stack([b, x], axis=1),
        lambda x: np.where(b > 1, x, 0.0), lambda x: np.einsum("ij,kj->ik", x, b), lambda x: np.split(x, 3, axis=1)[1],
    ],
)  # fmt: skip
def test_numpys_functions_do_the_same_and_are_recorded(f: Any) -> None:
    x = Tensor(a, requires_grad=True)
    y = f(x)
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.data, f(a), rtol=1e-12)
    assert y.requires_grad == (y.dtype.kind == "f" and f is not np.sign)
    if y.requires_grad:
        assert te.gradcheck(f, x)


def test_a_tensor_is_an_array_to_whoever_asks() -> None:
    x = leaf(2, 3)
    assert type(np.asarray(x)) is np.ndarray
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.array(x) is not x.data
    assert np.shape(x) == (2, 3)
    assert np.ndim(x) == 2
    assert np.allclose(x, x.data)
    assert np.isfinite(x).all()
    assert isinstance(b + x, Tensor)
    assert isinstance(np.float64(1) + x, Tensor)


@pytest.mark.parametrize("f", [np.sort, np.linalg.norm, np.floor_divide, np.arctan, np.add.reduce, np.median, np.cross])
def test_a_function_that_would_lose_the_gradient_is_refused_but_runs_on_data(f: Any) -> None:
    x = leaf(3)
    arguments = (x, x) if f in (np.floor_divide, np.cross) else (x,)
    teaches(lambda: f(*arguments), TypeError, ["not differentiable", "tensor.data"])
    with te.no_grad():
        np.testing.assert_array_equal(f(*arguments), f(*(y.data for y in arguments)))


def test_results_are_not_written_into_arrays() -> None:
    def write() -> None:
        np.add(leaf(2), 1, out=np.zeros(2))

    def add_to_array() -> None:
        array = np.zeros(2)
        array += leaf(2)

    teaches(write, TypeError, ["np.add", "new tensor"])
    teaches(add_to_array, TypeError, ["np.add", "new tensor"])


# Errors that teach ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: leaf(4, 3) @ leaf(4, 2),
            ShapeError,
            ["matmul: (4, 3) @ (4, 2)", "(3)", "(4)", "Did you mean left.mT @ right?"],
        ),
        (lambda: leaf(4, 3) @ leaf(2, 3), ShapeError, ["matmul", "Did you mean left @ right.mT?"]),
        (lambda: leaf(4, 3) @ leaf(4), ShapeError, ["(4, 3) @ (4,)", "length of the right (4)"]),
        (lambda: leaf(2, 4, 3) @ leaf(5, 3, 2), ShapeError, ["matmul", "leading axes", "(5, 3, 2)"]),
        (lambda: leaf(2, 2) @ 3.0, ShapeError, ["matmul", "write *"]),
        (lambda: leaf(2, 3) + leaf(2), ShapeError, ["add", "(2, 3)", "(2,)", "axis -1 is 3 against 2"]),
        (lambda: leaf(2, 3) * leaf(4, 1, 3)[:, 0], ShapeError, ["mul", "axis -2 is 2 against 4"]),
        (lambda: te.where(np.ones(1, bool), leaf(3), leaf(2)), ShapeError, ["where", "axis -1 is 3 against 2"]),
        (lambda: leaf(2, 3) < leaf(2), ShapeError, ["less", "(2, 3)", "(2,)"]),
        (lambda: leaf(2, 3).reshape(4, 2), ShapeError, ["reshape", "(2, 3) holds 6", "(4, 2) needs 8"]),
        (lambda: leaf(2, 3).reshape(4, -1), ShapeError, ["reshape", "(2, 3) holds 6", "multiple of 4"]),
        (lambda: leaf(2, 3).reshape(-1, -1), ShapeError, ["reshape", "more than one"]),
        (lambda: leaf(2, 3, 4).transpose(1, 2), ShapeError, ["transpose", "3 axes", "swapaxes(1, 2)"]),
        (lambda: leaf(2, 3).transpose(0, 0), ShapeError, ["transpose", "each of the 2 axes", "(0, 0)"]),
        (lambda: leaf(3).mT, ShapeError, ["mT", "(3,)"]),
        (lambda: te.concatenate([leaf(2, 3), leaf(3, 2)]), ShapeError, ["concatenate", "(2, 3), (3, 2)", "axis 0"]),
        (lambda: te.concatenate([leaf(2), leaf(2)], axis=1), ShapeError, ["concatenate", "(2,)", "no axis 1"]),
        (lambda: te.concatenate([]), TypeError, ["concatenate", "at least one"]),
        (lambda: te.stack([leaf(2), leaf(3)]), ShapeError, ["stack", "equal", "(2,), (3,)"]),
        (lambda: leaf(2, 3).broadcast_to((2, 2)), ShapeError, ["broadcast_to", "(2, 3)", "(2, 2)"]),
        (lambda: te.einsum("ij,jk->ik", leaf(2, 3), leaf(2, 3)), ShapeError, ["einsum", '"j"', "3", "2", "(2, 3)"]),
        (lambda: te.einsum("ij->i", leaf(2)), ShapeError, ["einsum", '"ij" names 2 axes', "(2,)"]),
        (lambda: te.einsum("ij,jk->ik", leaf(2, 3)), ValueError, ["einsum", "names 2 operands", "got 1"]),
        (lambda: leaf(2, 3).sum(axis=2), ShapeError, ["sum", "axis 2", "(2, 3)"]),
        (lambda: leaf(0, 3).max(axis=0), ShapeError, ["max", "(0, 3)", "nothing to choose"]),
        (lambda: leaf(2, 3)[2], IndexError, ["getitem", "index 2", "(2, 3)"]),
        (lambda: leaf(2, 3)[0, 0, 0], IndexError, ["getitem", "the index names 3", "(2, 3)"]),
        (lambda: leaf(2).masked_fill(np.ones(2), 0), TypeError, ["masked_fill", "boolean", "mask > 0"]),
        (lambda: te.where(leaf(2), 1.0, 0.0), TypeError, ["where", "boolean", "mask > 0"]),
        (lambda: te.maximum(leaf(2), "text"), TypeError, ["maximum", "str 'text'"]),  # type: ignore[arg-type]
        (lambda: te.maximum(leaf(2), [1.0, 2.0]), TypeError, ["maximum", "list"]),  # type: ignore[arg-type]
    ],
)
def test_errors_name_the_op_the_shapes_and_what_to_do(call: Any, error: type[Exception], words: list[str]) -> None:
    teaches(call, error, words)


@pytest.mark.parametrize("other", ["text", {1.0}, None, 1j])
def test_operators_leave_what_they_do_not_know_to_python(other: Any) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        leaf(1) + other
    with pytest.raises(TypeError, match="unsupported operand"):
        other - leaf(1)


# Corners -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (), (0, 1, 2)], ids=str)
def test_the_product_along_several_axes(axis: Any, keepdims: bool) -> None:
    x = leaf(2, 1, 3)
    np.testing.assert_allclose(x.prod(axis, keepdims), np.prod(x.data, axis=axis, keepdims=keepdims))
    assert te.gradcheck(lambda v: v.prod(axis, keepdims), x, order=2)


def test_anything_that_can_be_listed_is_joined_also_flat() -> None:
    x, y = leaf(2, 3), leaf(2)
    assert te.concatenate(v for v in (x, x)).shape == (4, 3)
    np.testing.assert_array_equal(te.concatenate([x, y], axis=None), np.concatenate([x.data, y.data], axis=None))
    assert te.gradcheck(lambda a, b: te.concatenate([a, b], axis=None) ** 2, x, y)


def test_arrays_of_the_same_shape_need_no_gradient() -> None:
    x = leaf(2, 3)
    assert [np.zeros_like(x).sum(), np.ones_like(x).sum(), np.full_like(x, 2).sum()] == [0, 6, 12]


def test_a_list_is_no_operand_and_never_repeated() -> None:
    for call in (lambda: Tensor(2) * [1, 2], lambda: [1, 2] * Tensor(2), lambda: leaf(2) + (1, 2)):  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"does not compute: write Tensor\("):
            call()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: leaf(2, 3).split(2, axis=1), ShapeError, ["split", "axis 1 of shape (2, 3)", "2 equal parts"]),
        (lambda: leaf(2, 3).split(2, axis=2), ShapeError, ["split", "(2, 3) has no axis 2"]),
        (lambda: te.stack([leaf(2), leaf(2)], axis=3), ShapeError, ["stack", "there is no axis 3", "(2,)"]),
        (lambda: te.stack([leaf(2), leaf(3)]), ShapeError, ["stack", "must be equal", "(2,), (3,)"]),
        (lambda: te.concatenate(3), TypeError, ["concatenate", "list", "int"]),
        (lambda: leaf(2).astype(complex), TypeError, ["astype", "real numbers"]),
        (lambda: leaf(2).astype("nothing"), TypeError, ["astype", "'nothing'"]),
        (lambda: te.einsum(leaf(2), "i"), TypeError, ["einsum", "subscripts come first"]),
        (lambda: np.add.reduce(leaf(2)), TypeError, ["np.add.reduce"]),
        (lambda: te.where(leaf(2) > 0, leaf(2), None), TypeError, ["where"]),
        (lambda: Tensor([1, 2]).masked_fill([True, False], -np.inf), TypeError, ["masked_fill", "infinity"]),
        (lambda: Tensor([1.0]).__setitem__(0, [1.0, 2.0]), ShapeError, ["cannot assign (2,)", "shape (1,)"]),
        (lambda: Tensor([1.0]).__setitem__(3, 1.0), IndexError, ["shape (1,)", "index 3"]),
    ],
)
def test_errors_in_corners_teach_too(call: Any, error: type[Exception], words: list[str]) -> None:
    teaches(call, error, words)


@pytest.mark.parametrize(("name", "ours"), [("view", "reshape"), ("unsqueeze", "expand_dims"), ("to", "astype")])
def test_names_of_pytorch_lead_to_ours(name: str, ours: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}': the name here is x\.{ours}"):
        getattr(Tensor([1.0]), name)
    assert not hasattr(Tensor([1.0]), "something_else")


REDUCTIONS = "sum mean var std max min argmax argmin prod cumsum squeeze".split()
PYTORCH_OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((name, {"dim": 0}, {"axis": 0}) for name in REDUCTIONS),
    ("flip", {"dims": (0, 1)}, {"axis": (0, 1)}),
    ("mean", {"dim": -1, "keepdim": True}, {"axis": -1, "keepdims": True}),
    ("var", {"unbiased": False}, {"ddof": False}),
    ("std", {"correction": 1}, {"ddof": 1}),
    ("tril", {"diagonal": 1}, {"k": 1}),
    ("triu", {"diagonal": 1}, {"k": 1}),
]


@pytest.mark.parametrize(("name", "theirs", "ours"), PYTORCH_OPTIONS)
def test_options_of_pytorch_lead_to_ours(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    given, advised = (" and ".join(f"{k}={v}" for k, v in options.items()) for options in (theirs, ours))
    method = getattr(Tensor(real(1, 3)), name)
    with pytest.raises(te.InputError) as caught:
        method(**theirs)
    assert str(caught.value) == f"{name}: there is no option {given}: write {advised}, as in NumPy"
    method(**ours)  # what it says to write works


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: te.concatenate([x, x], dim=1), "concatenate: there is no option dim=1: write axis=1"),
        (lambda x: te.stack([x, x], dim=1), "stack: there is no option dim=1: write axis=1"),
        (lambda x: x.roll(1, dims=0), "roll: there is no option dims=0: write axis=0"),
        (lambda x: x.split(1, dim=0), "split: there is no option dim=0: write axis=0"),
        (lambda x: x.sum(0, bogus=2), "sum: there is no option bogus=2"),
        (lambda x: np.sum(x, dtype=np.float64), "sum: there is no option dtype=<class 'numpy.float64'>"),
    ],
)
def test_options_that_there_are_not(call: Any, words: str) -> None:
    teaches(lambda: call(Tensor(real(1, 3))), te.InputError, [words])


def test_a_tensor_written_into_an_array_is_explained() -> None:
    w = Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"w\.grad\.data"):
        w.data -= Tensor([0.5])


def test_a_number_is_a_view_of_its_array_as_soon_as_that_is_asked_for() -> None:
    x = Tensor(2.0)
    y = x * 3  # computed with a NumPy scalar
    x.data[...] = 5.0
    assert (x * 3).item() == 15
    assert (y.item(), y.dtype, y.shape) == (6, np.float32, ())
    assert x.data is x.numpy()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8])
def test_numbers_keep_their_dtype(dtype: Any) -> None:
    x, array = Tensor(3, dtype=dtype), np.array(3, dtype)
    for ours, numpy in (
        (x + 1, array + 1),
        (2 * x, 2 * array),
        (x / 2, array / 2),
        (x**2, array**2),
        (x > 2, array > 2),
    ):
        assert (ours.dtype, ours.item()) == (numpy.dtype, numpy.item())


@pytest.mark.parametrize("value", [-2.0, -0.0, 0.0, 3.0, np.inf, -np.inf, np.nan])
def test_relu_of_a_number_is_that_of_an_array(value: float) -> None:
    number, array = Tensor(np.float64(value)).relu(), Tensor(np.array([value])).relu()
    assert number.dtype == array.dtype
    np.testing.assert_array_equal(number.data, array.data[0])
