"""The formula that a person reads is what the rule prints when it runs on symbols, and means what the rule computes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tests.ops.test_ops import differentiated, kernel, samples_where
from tests.samples import SAMPLES, Sample
from tinygrad_edu.ops import elementwise as e
from tinygrad_edu.ops import registry
from tinygrad_edu.ops.linalg import matmul
from tinygrad_edu.ops.movement import sum as total
from tinygrad_edu.ops.symbolic import Symbol, number, print_rule


def names(sample: Sample, index: int) -> list[str]:
    """The inputs' names: as the rule itself calls them, or a, b, ... where it takes any number."""
    if callable(sample.op.vjp):
        return list("abcd"[: len(sample.inputs)])
    rule: Any = sample.op.vjp[index]
    return list(inspect.signature(rule).parameters)[2 : 2 + len(sample.inputs)]


def printed(sample: Sample, index: int) -> Symbol:
    g, y, inputs, saved = kernel(sample)
    symbols = [None if x is None else Symbol(n, x) for n, x in zip(names(sample, index), inputs, strict=True)]
    return print_rule(sample.op, index, Symbol("G", g), Symbol("y", y), symbols, saved, sample.options)


@samples_where(differentiated)
def test_a_rule_prints_its_formula_and_computes_what_it_prints(sample: Sample) -> None:
    g, y, inputs, saved = kernel(sample)
    for i in differentiated(sample):
        symbol = printed(sample, i)
        if sample.plain and i < len(sample.op.formula):
            assert symbol.text == sample.op.formula[i]
        rule: Any = sample.op.rule(i)
        np.testing.assert_allclose(symbol.value, rule(g, y, *inputs, *saved, **sample.options), rtol=1e-12, atol=1e-12)


def test_a_rule_that_is_given_what_it_saved_reads_it_by_name() -> None:
    for op in registry.values():
        sample = next(s for s in SAMPLES if s.op is op and s.plain)
        for i in differentiated(sample) if op.saves else ():
            known = {"G", "y", *names(sample, i), *op.saves, *sample.options}
            assert printed(sample, i).reads <= known


def test_what_a_rule_reads_is_less_than_what_it_is_given() -> None:
    reads = {
        (s.op.name, i): printed(s, i).reads for s in SAMPLES if s.name in ("same", "matrix") for i in differentiated(s)
    }
    assert reads["add", 0] == {"G"}
    assert reads["mul", 0] == {"G", "b"}
    assert reads["exp", 0] == {"G", "y"}
    assert reads["tanh", 0] == {"G", "y"}


a, b, c = (Symbol(name, np.eye(2) + 1) for name in "abc")


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        (a + b + c, "a + b + c"),
        (a - (b + c), "a − (b + c)"),
        (a - (b - c), "a − (b − c)"),
        (a - b - c, "a − b − c"),
        ((a + b) * c, "(a + b) ⊙ c"),
        (a * b + c, "a ⊙ b + c"),
        (a / (b * c), "a / (b ⊙ c)"),
        (a / (b / c), "a / (b / c)"),
        (a / b / c, "a / b / c"),
        (a * (b / c), "a ⊙ b / c"),
        (-(a + b), "−(a + b)"),
        (-a * b, "−a ⊙ b"),
        (a - (-b), "a − (−b)"),
        (a + (-b), "a + (−b)"),
        (a * -2.0, "a ⊙ (−2)"),
        ((a + b) ** 2, "(a + b)^2"),
        (a**b**c, "a^(b^c)"),
        ((a**b) ** c, "(a^b)^c"),
        (a ** (b - 1), "a^(b − 1)"),
        ((-a) ** 2, "(−a)^2"),
        (-(a**2), "−a^2"),
        (e.square(a + b), "(a + b)²"),
        (e.square(e.square(a)), "(a²)²"),
        (e.square(-a), "(−a)²"),
        (-e.square(a), "−a²"),
        (e.exp(a + b) * c, "exp(a + b) ⊙ c"),
        (e.sqrt(a + b), "√(a + b)"),
        (e.sqrt(a) * b, "√a ⊙ b"),
        (e.abs(a + b) / c, "|a + b| / c"),
        (e.greater(a + b, c) * a, "[a + b > c] ⊙ a"),
        (e.equal(a, b), "[a = b]"),
        (matmul(a, b).mT, "(a · b)ᵀ"),
        (matmul(a + b, c.mT), "(a + b) · cᵀ"),
        (matmul(matmul(a, b), c), "a · b · c"),
        (matmul(a, b * c), "a · (b ⊙ c)"),
        (matmul(a * b, c), "(a ⊙ b) · c"),
        (matmul(a, b) * c, "a · b ⊙ c"),
        (a * matmul(b, c), "a ⊙ b · c"),
        (e.sigmoid(a), "σ(a)"),
        (total(a * b, axis=0, keepdims=True) * c, "(Σ a ⊙ b) ⊙ c"),
        (a - total(a * b, axis=0, keepdims=True), "a − Σ a ⊙ b"),
        (total(a + b, axis=0, keepdims=True), "Σ (a + b)"),
        (a - total(b, axis=0, keepdims=True) - c, "(a − Σ b) − c"),
        (e.exp(total(a, axis=0, keepdims=True)) * b, "exp(Σ a) ⊙ b"),
        (a / matmul(b, c), "a / (b · c)"),
        (matmul(a, b) / c, "a · b / c"),
        (a / e.sqrt(b), "a / √b"),
        (e.neg(-a), "−(−a)"),
        (e.power_slope(a + b, a - b), "(a − b) ⊙ (a + b)^((a − b) − 1)"),
        (1 / a, "1 / a"),
        (2 * a, "2 ⊙ a"),
        (a[0], "a[…]"),
        ((a + b)[0], "(a + b)[…]"),
    ],
    ids=str,
)
def test_parentheses_are_where_the_meaning_needs_them(symbol: Symbol, text: str) -> None:
    assert symbol.text == text


def test_numbers_are_short_and_have_a_real_minus() -> None:
    assert [number(x) for x in (2, -0.5, 3.14159265, 1e-12)] == ["2", "−0.5", "3.142", "1e−12"]
