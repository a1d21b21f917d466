"""Whatever is wrong with the inputs of an op or a module, the error is ours and says what, where, and what to do.

The registry is walked with wrong shapes, options, dtypes and types. What a kernel takes all the same is not wrong; what
it refuses must be refused in our words: the op first, then the module, what to do, and every shape.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.samples import SAMPLES, real
from tinygrad_edu import Tensor, nn
from tinygrad_edu.ops import registry
from tinygrad_edu.ops.op import Op

OURS = (te.ShapeError, te.InputError, te.OutOfRangeError)
ENGINE = str(Path(te.__file__).parent)
Call = Callable[[], Any]

# The errors of NumPy and Python that a user should never see.
FOREIGN = (
    "operands could not be broadcast",
    "out of bounds for array of dimension",
    "core dimension",
    "cannot reshape array",
    "object has no attribute",
    "tuple index",
    "interpreted as an integer",
    "positional argument",
    "unsupported operand",
    "not supported between",
    "did not contain a loop",
    "invalid literal",
    "shape mismatch",
    "inhomogeneous",
    "not iterable",
    "not subscriptable",
    "must be integers or slices",
    "valid indices",
    "ufunc",
)


def comes_alone(error: BaseException) -> bool:
    """No traceback of another error is printed before it, but of one that was being handled already.

    Tests that interrupt Python in the middle of a line can leave such a one behind, for all tests that follow.
    """
    return error.__cause__ is None and (error.__suppress_context__ or error.__context__ is sys.exc_info()[1])


def refused(call: Call, name: str, arrays: list[Any], where: str = "") -> str:
    """The error's text, after all that is demanded of it was found."""
    with pytest.raises(OURS) as caught:
        call()
    error, text = caught.value, str(caught.value)
    assert text.startswith(f"{name}{where}: "), text
    for array in arrays:
        assert str(array.shape) in text, text
    assert not [words for words in FOREIGN if words in text], text
    assert "\n" not in text
    assert comes_alone(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    assert frames[-1].filename.startswith(ENGINE)  # not three levels down in NumPy
    return text


def fails(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether the kernel itself refuses these arrays."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = op.forward(*inputs, **options)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError):
        return True
    return bool(np.asarray(result[0] if op.saves else result).dtype == object)


def changed(inputs: tuple[Any, ...], i: int, value: Any) -> tuple[Any, ...]:
    return (*inputs[:i], value, *inputs[i + 1 :])


# Wrong shapes --------------------------------------------------------------------------------------------------------


def wrong_shapes(x: Any) -> Iterator[Any]:
    yield np.stack([x] * 7, -1)
    if x.size:
        yield np.asarray(x.ravel()[0])
    if x.ndim:
        yield np.concatenate([x] * 5, -1)
        yield np.concatenate([x] * 5, 0)
        yield x[..., :0]


OPTIONS: dict[str, list[Any]] = {
    "axis": [99, -99, (0, 0), (0, 99), "x", 1.5],
    "axis1": [99, "x"],
    "axis2": [-99, None],
    "axes": [(0, 0), (9, 1, 2), (0.5,), "x"],
    "shape": [(7, 11), (-1, -1), (2.5,), "x", None],
    "index": [99, (0, 0, 0, 0, 0), np.ones(9, bool), np.array([0.5]), "x"],
    "pad_width": [((1, 2),) * 7, -1, "x"],
    "repeats": [(1, 2, 3, 4, 5), -1, "x"],
    "shift": [(1, 2, 3), "x"],
    "k": ["x"],
    "n": ["x"],
    "min": [np.ones(77), "x"],
    "subscripts": ["zz,zzz->z", "ij,jkl->i"],
    "negative_slope": ["x"],
    "alpha": ["x"],
    "ddof": ["x"],
}
# These take any shape, and have no option that says one.
ANY_SHAPE = {
    op.name for op in registry.values() if op.name in "neg exp expm1 log log1p log_or_zero sqrt square".split()
}
ANY_SHAPE |= set("sin cos tanh sign abs erf relu sigmoid softplus silu identity constant gelu gelu_tanh".split())


@pytest.mark.filterwarnings("ignore:.*empty slice", "ignore:Degrees of freedom")  # NumPy warns before it fails
def test_every_op_refuses_wrong_shapes_and_options_in_our_words() -> None:
    found: Counter[str] = Counter()
    for sample in SAMPLES:
        op, inputs, options = sample.op, sample.inputs, sample.options
        cases = [
            (changed(inputs, i, wrong), options)
            for i, x in enumerate(inputs)
            if isinstance(x, np.ndarray)
            for wrong in wrong_shapes(x)
        ]
        cases += [(inputs, {**options, name: wrong}) for name in options for wrong in OPTIONS.get(name, [])]
        for arrays, settings in cases:
            if fails(op, arrays, settings):
                tensors = [Tensor(x) if isinstance(x, np.ndarray) else x for x in arrays]
                real_arrays = [x for x in arrays if isinstance(x, np.ndarray)]
                refused(lambda op=op, t=tensors, s=settings: te.apply(op, *t, **s), op.name, real_arrays)  # type: ignore[misc]
                found[op.name] += 1
    assert set(registry) - set(found) - {"astype"} <= ANY_SHAPE


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x @ real(4, 2), "Did you mean left.mT @ right?"),
        (lambda x: x + real(4, 2), "axis -1 is 3 against 2: they must be equal, or one of them 1"),
        (lambda x: x.sum(axis=2), "there is no axis 2: its 2 axes are 0 to 1, or -2 to -1 counted from the end"),
        (lambda x: Tensor(1.0).sum(axis=1), "a single number has no axes"),
        (lambda x: F.softmax(x, axis=(0, 0)), "names an axis twice"),
        (lambda x: x.reshape(5, 3), "(4, 3) holds 12 elements, (5, 3) needs 15"),
        (lambda x: x.squeeze(0), "only axes of length 1 can be removed, axis 0 of (4, 3) is longer"),
        (lambda x: x[4], "index 4 is out of range for axis 0 of shape (4, 3): it has 0 to 3"),
        (lambda x: x[..., 5], "index 5 is out of range for axis 1"),
        (lambda x: x[np.ones(3, bool)], "the mask (3,) must have the shape of what it covers, (4,)"),
        (lambda x: x[np.array([0.0])], "got float64: write index.astype(int)"),
        (lambda x: x[:, None, 0, 0], "shape (4, 3) has 2 axes, the index names 3"),
        (lambda x: F.linear(x, real(3, 5)), "Did you pass weight.T?"),
        (lambda x: F.embedding(np.array([7]), x), "id 7 is out of range: there are 4 rows, from 0 to 3"),
        (lambda x: F.cross_entropy(x, np.array([0, 1, 2, 3])), "target 3 is out of range: there are 3 classes"),
        (lambda x: F.scaled_dot_product_attention(x, x, x[:2]), "there are 4 keys and 2 values"),
        (lambda x: F.scaled_dot_product_attention(x, x[:, :2], x), "the width D is 3 in the query and 2 in the key"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, np.ones((9, 9), bool)), "does not broadcast to (..., 4, 4)"),
        (lambda x: te.einsum("ij,jk->ik", x, x), 'axis "j" of "ij,jk->ik" is 3 in one place and 4 in another'),
        (lambda x: te.stack([x, x[:2]]), "all shapes must be equal"),
        (lambda x: te.concatenate([x, x[:, :2]]), "all shapes must agree but for axis 0"),
        (lambda x: x.repeat((1, 2), 0), "one for each element along axis 0"),
        (lambda x: x.clip(np.zeros(2), None), "axis -1 is 3 against 2"),
        (lambda x: Tensor(1.0).tril(), "a triangle is part of a matrix"),
        (lambda x: x.astype(int) ** -1, "write x.astype(float)"),
        (lambda x: -(x > 0), "has no meaning for bool: convert it first, as in x.astype(np.float32)"),
    ],
)
def test_what_to_do(call: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises(OURS) as caught:
        call(Tensor(real(4, 3)))
    assert words in str(caught.value)


def test_few_internal_frames_follow_the_line_of_the_user() -> None:
    x = Tensor(real(4, 3))
    for call in (lambda: x @ x, lambda: x + real(2), lambda: x.sum(axis=5), lambda: F.linear(x, x.T), lambda: x[9]):
        with pytest.raises(OURS) as caught:
            call()
        inside = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(ENGINE)]
        assert len(inside) <= 3


# Wrong dtypes and types ----------------------------------------------------------------------------------------------

TYPES: list[Any] = [
    "text",
    [1.0, 2.0],
    ["a"],
    None,
    object(),
    {},
    np.array(["a", "b"]),
    np.array([None, 1]),
    np.ones(3) * 1j,
    np.datetime64("2024-01-01"),
    nn.ReLU(),
    2.0,
]


def test_every_op_refuses_wrong_types_in_our_words() -> None:
    found: Counter[str] = Counter()
    for op, sample in {sample.op: sample for sample in SAMPLES}.items():
        for i in range(len(sample.inputs)):
            for wrong in TYPES:
                inputs = changed(sample.inputs, i, wrong)
                acceptable = wrong is None or isinstance(wrong, float)
                if acceptable and not fails(op, inputs, sample.options):
                    continue  # a number may stand for an array, and None for what is left out
                arrays = [x for x in inputs if isinstance(x, np.ndarray) and x.dtype.kind in "biuf"]
                text = refused(
                    lambda op=op, inputs=inputs, s=sample: te.apply(op, *inputs, **s.options),  # type: ignore[misc]
                    op.name,
                    arrays if acceptable else [],
                )
                assert acceptable or "expected" in text or "ids must be integers" in text
                found[op.name] += 1
    assert set(found) == set(registry)


def test_every_op_refuses_dtypes_that_it_has_no_meaning_for() -> None:
    found: Counter[str] = Counter()
    for op, sample in {sample.op: sample for sample in SAMPLES}.items():
        for i, x in enumerate(sample.inputs):
            for dtype in (bool, np.int64, np.float64):
                if isinstance(x, np.ndarray):
                    inputs = changed(sample.inputs, i, x.astype(dtype))
                    if fails(op, inputs, sample.options):
                        text = refused(
                            lambda op=op, inputs=inputs, s=sample: te.apply(op, *inputs, **s.options),  # type: ignore[misc]
                            op.name,
                            [x for x in inputs if isinstance(x, np.ndarray)],
                        )
                        assert ".astype(" in text
                        found[op.name] += 1
    assert {"neg", "embedding", "cross_entropy"} <= set(found)


# Modules -------------------------------------------------------------------------------------------------------------

MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {  # and the op that meets the input first
    "Linear": (lambda: nn.Linear(4, 3), "linear"),
    "Embedding": (lambda: nn.Embedding(5, 3), "embedding"),
    "LayerNorm": (lambda: nn.LayerNorm(4), "layer_norm"),
    "Dropout": (lambda: nn.Dropout(0.5), "dropout"),
    "ReLU": (nn.ReLU, "relu"),
    "LeakyReLU": (nn.LeakyReLU, "leaky_relu"),
    "ELU": (nn.ELU, "elu"),
    "GELU": (nn.GELU, "gelu"),
    "SiLU": (nn.SiLU, "silu"),
    "Sigmoid": (nn.Sigmoid, "sigmoid"),
    "Softmax": (nn.Softmax, "softmax"),
    "Softplus": (nn.Softplus, "softplus"),
    "Tanh": (nn.Tanh, "tanh"),
    "SelfAttention": (lambda: nn.SelfAttention(4, 2), "linear"),
    "HeadByHead": (lambda: nn.HeadByHead(4, 2), "linear"),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(4, 2), "linear"),
    "SinusoidalPositionalEncoding": (lambda: nn.SinusoidalPositionalEncoding(6, 4), "embedding"),
    "LearnedPositionalEncoding": (lambda: nn.LearnedPositionalEncoding(6, 4), "embedding"),
}
INSIDE = {"SelfAttention": ".query", "HeadByHead": ".heads.0.query", "MultiHeadAttention": ".query"}


class Model(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        self.part = nn.Sequential(part)

    def forward(self, x: Any) -> Any:
        return self.part(x)


def module_refuses(name: str, x: Any) -> str:
    make, op = MODULES[name]
    arrays = [x] if isinstance(x, (np.ndarray, Tensor)) else []
    return refused(lambda: Model(make())(x), op, arrays, f" (in part.0{INSIDE.get(name, '')})")


def test_every_module_is_walked() -> None:
    kinds = {name for name, kind in vars(nn).items() if isinstance(kind, type) and issubclass(kind, nn.Module)}
    assert kinds - {"Module", "ModuleList", "Sequential"} == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("wrong", [None, "text", {}, nn.ReLU(), [[1], [1, 2]]], ids=lambda x: type(x).__name__)
def test_modules_refuse_wrong_types(name: str, wrong: Any) -> None:
    module_refuses(name, wrong)


@pytest.mark.parametrize("name", [name for name, (_, op) in MODULES.items() if op in ("linear", "layer_norm")])
@pytest.mark.parametrize("shape", [(2, 3, 9), (9,), (), (2, 0)])
def test_modules_refuse_wrong_sizes(name: str, shape: tuple[int, ...]) -> None:
    text = module_refuses(name, np.zeros(shape, np.float32))
    assert "must" in text or "needs" in text


@pytest.mark.parametrize("name", [name for name, (_, op) in MODULES.items() if op == "embedding"])
def test_tables_refuse_what_is_no_id(name: str) -> None:
    assert "np.asarray(ids).astype(int)" in module_refuses(name, np.zeros((2, 3), np.float32))
    assert "ids must be integers, got bool" in module_refuses(name, np.zeros(2, bool))
    assert "is out of range: there are" in module_refuses(name, np.array([[99]]))
    assert "id -1 is out of range" in module_refuses(name, np.array([-1]))


@pytest.mark.parametrize("mask", [np.ones((7, 7), bool), np.ones((3, 3), int)])
def test_attention_refuses_wrong_masks(mask: Any) -> None:
    model = nn.Sequential(nn.MultiHeadAttention(4, 2))
    x = np.zeros((1, 3, 4), np.float32)

    class Masked(nn.Module):
        def __init__(self) -> None:
            self.inner = model

        def forward(self, x: Any) -> Any:
            return self.inner[0](x, mask=mask)

    with pytest.raises(OURS, match=r"attention \(in inner.0\): .*(does not broadcast|mask.astype\(bool\))"):
        Masked()(x)


def test_integers_go_through_modules_as_numbers() -> None:
    x = np.ones((2, 4), np.int64)
    for name, (make, op) in MODULES.items():
        if op != "embedding" and name not in INSIDE:
            assert make()(x).shape[0] == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: F.leaky_relu(x, "x"), "leaky_relu: negative_slope must be a number, got str 'x'"),
        (lambda x: F.elu(x, None), "elu: alpha must be a number, got NoneType None"),
        (lambda x: F.layer_norm(x, eps="x"), "layer_norm: eps must be a number"),
        (lambda x: F.dropout(x, [0.5]), "dropout: p must be a number, got list [0.5]"),
        (lambda x: F.cross_entropy(x, np.zeros(4, int), label_smoothing="x"), "label_smoothing must be a number"),
    ],
)
def test_options_of_functions(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(te.InputError) as caught:
        call(Tensor(real(4, 3)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear("4", 3),
        lambda: nn.Linear(4, None),
        lambda: nn.Linear(4, -1),
        lambda: nn.Embedding(5, 2.5),
        lambda: nn.LayerNorm((4, 4)),
        lambda: nn.Dropout("0.5"),
        lambda: nn.Dropout(2),
        lambda: nn.MultiHeadAttention(5, 2),
        lambda: nn.MultiHeadAttention(4, 2, dropout="x"),
        lambda: nn.MultiHeadAttention("4", 2),
        lambda: nn.SelfAttention(4, "2"),
        lambda: nn.HeadByHead(4, 0),
        lambda: nn.SinusoidalPositionalEncoding("6", 4),
        lambda: nn.LearnedPositionalEncoding(6, None),
        lambda: nn.Sequential(3),
        lambda: nn.ModuleList([nn.ReLU]),
    ],
)
def test_modules_refuse_wrong_settings(make: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    names = [name for name in (*MODULES, "Sequential", "ModuleList") if str(caught.value).startswith(name)]
    assert names, caught.value
    assert comes_alone(caught.value)
