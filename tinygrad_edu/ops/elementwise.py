"""Ops that work on each element by itself, with NumPy's broadcasting.

Where a function has a kink, the gradient is a documented choice: abs and relu take 0, clip takes 1, maximum and minimum
share a tie in halves (as PyTorch does). Each function is stable over the whole range of its dtype.
"""

from __future__ import annotations

import math
import operator
from itertools import combinations
from typing import Any

import numpy as np

from tinygrad_edu.ops.op import Op


def broadcast_hint(*values: Any, **options: Any) -> str:
    """Which axes of the inputs do not broadcast: they are aligned from the right, and must be equal or 1."""
    for left, right in combinations(map(np.shape, values), 2):
        for axis in range(-1, -1 - min(len(left), len(right)), -1):
            if left[axis] != right[axis] and 1 not in (left[axis], right[axis]):
                return (
                    f"shapes are aligned from the right, and axis {axis} is {left[axis]} against {right[axis]}: "
                    "they must be equal, or one of them 1"
                )
    return ""


# Arithmetic: Python's operators, which on a NumPy scalar take a tenth of the time of NumPy's functions ---------------

add: Op = Op(
    "add",
    operator.add,
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: g),
    formula=("G", "G"),
    notation="{} + {}",
    hint=broadcast_hint,
)
sub: Op = Op(
    "sub",
    operator.sub,
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: -g),
    formula=("G", "−G"),
    notation="{} − {}",
    hint=broadcast_hint,
)
mul: Op = Op(
    "mul",
    operator.mul,
    vjp=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    formula=("G ⊙ b", "G ⊙ a"),
    notation="{} ⊙ {}",
    hint=broadcast_hint,
)
div: Op = Op(
    "div",
    operator.truediv,
    vjp=(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    formula=("G / b", "−G ⊙ y / b"),
    notation="{} / {}",
    hint=broadcast_hint,
)
neg: Op = Op("neg", operator.neg, vjp=(lambda g, y, x: -g,), formula=("−G",), notation="−{}")


# a / b, and 0 where b is 0: the subgradient at the point of a norm or a square root.
divide_or_zero: Op = Op(
    "divide_or_zero",
    lambda a, b: a / (b + (b == 0)) * (b != 0),
    vjp=(lambda g, y, a, b: divide_or_zero(g, b), lambda g, y, a, b: divide_or_zero(-g * y, b)),
    formula=("G / b", "−G ⊙ y / b"),
    notation="{} / {}",
)


def _power_derivative(a: Any, b: Any, n: int) -> Any:
    """b (b - 1) ... (b - n + 1) a^(b - n), and 0 where a factor is 0 (a polynomial came to its end), also at a = 0."""
    factor = math.prod(b - i for i in range(n))
    if isinstance(b, (int, float)):
        return factor * a ** (b - n) if factor else np.zeros_like(a)
    ended = np.equal(factor, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ended, 0, factor * a ** np.where(ended, 1, b - float(n))).astype(np.result_type(a, b))


def _exponent_slope(a: Any, b: Any, n: int) -> Any:
    """The derivative of dⁿ/daⁿ a^b in b, by the product rule: dⁿ/daⁿ a^b is b times dⁿ⁻¹/daⁿ⁻¹ a^(b-1)."""
    if n == 0:
        return pow(a, b) * log_or_zero(a)
    return power_derivative(a, b - 1, n=n - 1) + b * _exponent_slope(a, b - 1, n - 1)


def _log_or_zero(x: Any) -> Any:
    """log(x), and 0 where x is 0; of a Python number a Python number, so that no dtype is changed."""
    result = np.log(x + (x == 0))
    return result if isinstance(x, (np.ndarray, np.generic)) else float(result)


power_derivative: Op = Op(
    "power_derivative",
    _power_derivative,
    vjp=(
        lambda g, y, a, b, n: g * power_derivative(a, b, n=n + 1),
        lambda g, y, a, b, n: g * _exponent_slope(a, b, n),
    ),
    formula=(
        "G ⊙ power_derivative(a, b)",
        "G ⊙ (power_derivative(a, b − 1) + b ⊙ (power_derivative(a, b − 1 − 1) + (b − 1) ⊙ a^(b − 1 − 1) ⊙ log(a)))",
    ),
)
power_slope: Op = Op(  # the first of them, which has a notation of its own
    "power_slope",
    lambda a, b: _power_derivative(a, b, 1),
    vjp=(
        lambda g, y, a, b: g * power_derivative(a, b, n=2),
        lambda g, y, a, b: g * (pow(a, b - 1) + y * log_or_zero(a)),
    ),
    formula=("G ⊙ power_derivative(a, b)", "G ⊙ (a^(b − 1) + y ⊙ log(a))"),
    notation="{1} ⊙ {0}^({1} − 1)",
)
log_or_zero: Op = Op(
    "log_or_zero",
    _log_or_zero,
    vjp=(lambda g, y, x: divide_or_zero(g, x),),
    formula=("G / x",),
    notation="log({})",
)
pow: Op = Op(
    "pow",
    lambda a, b: a**b,
    vjp=(lambda g, y, a, b: g * power_slope(a, b), lambda g, y, a, b: g * y * log_or_zero(a)),
    formula=("G ⊙ b ⊙ a^(b − 1)", "G ⊙ y ⊙ log(a)"),
    notation="{}^{}",
    hint=broadcast_hint,
)

# Exponentials, logarithms, roots, waves ------------------------------------------------------------------------------

exp: Op = Op("exp", np.exp, vjp=(lambda g, y, x: g * y,), formula=("G ⊙ y",))
expm1: Op = Op("expm1", np.expm1, vjp=(lambda g, y, x: g * (y + 1),), formula=("G ⊙ (y + 1)",))
log: Op = Op("log", np.log, vjp=(lambda g, y, x: g / x,), formula=("G / x",))
log1p: Op = Op("log1p", np.log1p, vjp=(lambda g, y, x: g / (1 + x),), formula=("G / (1 + x)",))
sqrt: Op = Op("sqrt", np.sqrt, vjp=(lambda g, y, x: g / (2 * y),), formula=("G / (2 ⊙ y)",), notation="√{}")
square: Op = Op("square", np.square, vjp=(lambda g, y, x: g * (2 * x),), formula=("G ⊙ 2 ⊙ x",), notation="{}²")
sin: Op = Op("sin", np.sin, vjp=(lambda g, y, x: g * cos(x),), formula=("G ⊙ cos(x)",))
cos: Op = Op("cos", np.cos, vjp=(lambda g, y, x: -g * sin(x),), formula=("−G ⊙ sin(x)",))
tanh: Op = Op("tanh", np.tanh, vjp=(lambda g, y, x: g * (1 - square(y)),), formula=("G ⊙ (1 − y²)",))
sign: Op = Op("sign", np.sign, vjp=(None,), formula=("0",))
abs: Op = Op("abs", np.abs, vjp=(lambda g, y, x: g * sign(x),), formula=("G ⊙ sign(x)",), notation="|{}|")

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969): the
# coefficients of numerator and denominator for |x| <= 0.46875, for |x| <= 4, and beyond; relative error below 1e-16.
_ERF_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERFC_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2)
    + (8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3)
    + (3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
_ERFC_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1)
    + (1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2)
    + (2.33520497626869185e-3,),
)
# In float32 one quotient in x² does: our own fit to erf(x) / x on |x| < 4, from where on erf is 1. Off by 2.5e-8, to
# which rounding adds up to 4e-7; it takes a quarter of the time.
_ERF_FLOAT32 = (
    (1.9868491e-06, 0.00028455916, 0.00388300895, 0.0531007023, 0.193537084, 1.12837914),
    (3.74205276e-05, 0.00118549176, 0.0152065753, 0.115346712, 0.504850332, 1.0),
)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's scheme, highest power first, in place: np.polyval would make two arrays for each power."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += coefficient
    return result


def _rational(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    return _polynomial(coefficients[0], x) / _polynomial(coefficients[1], x)


def _erf(x: Any) -> Any:
    x = np.asarray(x)
    if x.dtype == np.float16:  # too small for the coefficients
        return _erf(x.astype(np.float32)).astype(np.float16)
    if x.dtype == np.float32:
        inside = np.clip(x, -4, 4)
        return np.where(np.abs(x) < 4, inside * _rational(_ERF_FLOAT32, inside * inside), np.sign(x))
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    size = np.minimum(np.abs(x), 6)  # erf(6) rounds to 1 in float64
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        near = size * _rational(_ERF_NEAR, size * size)
        middle = 1 - np.exp(-size * size) * _rational(_ERFC_MIDDLE, size)
        inverse = 1 / np.maximum(size, 1) ** 2
        tail = (1 / math.sqrt(math.pi) - inverse * _rational(_ERFC_FAR, inverse)) / np.maximum(size, 1)
        far = 1 - np.exp(-size * size) * tail
    return np.copysign(np.where(size <= 0.46875, near, np.where(size <= 4, middle, far)), x)


erf: Op = Op(
    "erf",
    _erf,
    vjp=(lambda g, y, x: g * (2 / math.sqrt(math.pi)) * exp(-square(x)),),
    formula=("G ⊙ 1.128 ⊙ exp(−x²)",),
)

# Choosing: comparisons, where, and the larger or smaller of two ------------------------------------------------------

greater: Op = Op("greater", np.greater, notation="[{} > {}]", hint=broadcast_hint)
greater_equal: Op = Op("greater_equal", np.greater_equal, notation="[{} ≥ {}]", hint=broadcast_hint)
less: Op = Op("less", np.less, notation="[{} < {}]", hint=broadcast_hint)
less_equal: Op = Op("less_equal", np.less_equal, notation="[{} ≤ {}]", hint=broadcast_hint)
equal: Op = Op("equal", np.equal, notation="[{} = {}]", hint=broadcast_hint)
not_equal: Op = Op("not_equal", np.not_equal, notation="[{} ≠ {}]", hint=broadcast_hint)
where: Op = Op(
    "where",
    np.where,
    vjp=(None, lambda g, y, c, a, b: where(c, g, 0), lambda g, y, c, a, b: where(c, 0, g)),
    formula=("", "where(c, G, 0)", "where(c, 0, G)"),
    hint=broadcast_hint,
)
masked_fill: Op = Op(
    "masked_fill",
    lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
    vjp=(lambda g, y, x, mask, value: where(mask, 0, g), None),
    formula=("where(mask, 0, G)", ""),
    hint=broadcast_hint,
)
maximum: Op = Op(
    "maximum",
    np.maximum,
    vjp=(
        lambda g, y, a, b: g * greater(a, b) + 0.5 * g * equal(a, b),
        lambda g, y, a, b: g * greater(b, a) + 0.5 * g * equal(a, b),
    ),
    formula=("G ⊙ [a > b] + 0.5 ⊙ G ⊙ [a = b]", "G ⊙ [b > a] + 0.5 ⊙ G ⊙ [a = b]"),
    hint=broadcast_hint,
)
minimum: Op = Op(
    "minimum",
    np.minimum,
    vjp=(
        lambda g, y, a, b: g * less(a, b) + 0.5 * g * equal(a, b),
        lambda g, y, a, b: g * less(b, a) + 0.5 * g * equal(a, b),
    ),
    formula=("G ⊙ [a < b] + 0.5 ⊙ G ⊙ [a = b]", "G ⊙ [b < a] + 0.5 ⊙ G ⊙ [a = b]"),
    hint=broadcast_hint,
)
clip: Op = Op(
    "clip",
    lambda x, min, max: np.clip(x, min, max),
    vjp=(lambda g, y, x, min, max: g * equal(x, y),),
    formula=("G ⊙ [x = y]",),
    hint=lambda x, min, max: broadcast_hint(x, *(bound for bound in (min, max) if bound is not None)),
)

# Activations ---------------------------------------------------------------------------------------------------------


def _sigmoid(x: Any) -> Any:
    shrunk = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, shrunk) / (1 + shrunk)


def _relu(x: Any) -> Any:
    if isinstance(x, np.generic):  # one number: a comparison takes a tenth of the time of np.maximum
        return x.dtype.type(0) if x <= 0 else x  # type: ignore[operator]
    return np.maximum(x, 0)


relu: Op = Op("relu", _relu, vjp=(lambda g, y, x: g * (x > 0),), formula=("G ⊙ [x > 0]",))
leaky_relu: Op = Op(
    "leaky_relu",
    lambda x, negative_slope: np.where(x > 0, x, x * negative_slope),
    vjp=(lambda g, y, x, negative_slope: where(greater(x, 0), g, g * negative_slope),),
    formula=("where([x > 0], G, G ⊙ negative_slope)",),
)
elu: Op = Op(
    "elu",
    lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    vjp=(lambda g, y, x, alpha: where(greater(x, 0), g, g * (y + alpha)),),
    formula=("where([x > 0], G, G ⊙ (y + alpha))",),
)
sigmoid: Op = Op(
    "sigmoid", _sigmoid, vjp=(lambda g, y, x: g * y * (1 - y),), formula=("G ⊙ y ⊙ (1 − y)",), notation="σ({})"
)
softplus: Op = Op(
    "softplus",
    lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    vjp=(lambda g, y, x: g * sigmoid(x),),
    formula=("G ⊙ σ(x)",),
)
silu: Op = Op(
    "silu",
    lambda x: x * _sigmoid(x),
    vjp=(lambda g, y, x: g * (sigmoid(x) + y * (1 - sigmoid(x))),),
    formula=("G ⊙ (σ(x) + y ⊙ (1 − σ(x)))",),
)

# Keeping a value, changing what surrounds it -------------------------------------------------------------------------

identity: Op = Op("identity", lambda x: x, vjp=(lambda g, y, x: g,), formula=("G",), notation="{}")
constant: Op = Op("constant", lambda x: x, vjp=(None,), formula=("0",), notation="{}")  # no gradient passes
astype: Op = Op(
    "astype", lambda x, dtype: x.astype(dtype), vjp=(lambda g, y, x, dtype: g,), formula=("G",), notation="{}"
)
