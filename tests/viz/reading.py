"""Reads a picture back from its DOT source, and builds the graphs that the tests draw."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from tinygrad_edu import Tensor
from tinygrad_edu.nn import Parameter


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str | None] = []
        self.texts: dict[str, str] = {}
        self.hints: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        identity = found.get("id")
        self.open.append(identity)
        if identity is not None:
            self.texts[identity] = ""
            self.hints[identity] = found.get("tooltip") or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for identity in self.open:
            if identity is not None:
                self.texts[identity] += data


def parse(source: str) -> tuple[dict[str, str], dict[str, str]]:
    """The text and the tooltip of every cell that has an id."""
    texts: dict[str, str] = {}
    hints: dict[str, str] = {}
    for label in re.findall(r"label=<(<table.*?</table>)>[ \]\n]", source, flags=re.DOTALL):
        parser = _Cells()
        parser.feed(label)
        texts |= parser.texts
        hints |= parser.hints
    return texts, hints


def value_of(text: str) -> float:
    """The number that a text ends with, such as 12 in `6 + 3 + 3 = 12`."""
    return float(text.split("=")[-1].strip().strip("()").replace("−", "-"))


def close(shown: str, true: object) -> bool:
    """Whether a shown number is the true one to its four digits."""
    return bool(np.isclose(value_of(shown), float(np.asarray(true)), rtol=6e-4, atol=1e-12, equal_nan=True))


def neuron() -> tuple[Tensor, dict[str, Tensor]]:
    """y = relu(w1 x1 + w2 x2 + b)."""
    w1, w2, b = (Parameter(value, name=name) for value, name in ((0.2355, "w1"), (0.0665, "w2"), (0.0, "b")))
    x1, x2 = (Tensor(value, requires_grad=True, name=name) for value, name in ((1.0, "x1"), (-2.0, "x2")))
    p1 = w1 * x1
    p2 = w2 * x2
    s = p1 + p2
    z = s + b
    y = z.relu()
    return y, {"w1": w1, "w2": w2, "b": b, "x1": x1, "x2": x2, "p1": p1, "p2": p2, "s": s, "z": z, "y": y}


def fan_out() -> Tensor:
    """c = a (a + a): one tensor, three uses."""
    a = Parameter(3.0, name="a")
    b = a + a
    b.name = "b"
    c = a * b
    c.name = "c"
    return c


def diamond() -> Tensor:
    """Two ways from x to y."""
    x = Tensor(0.5, requires_grad=True, name="x")
    left, right = x * 2.0, x * x
    left.name, right.name = "left", "right"
    y = left * right
    y.name = "y"
    return y


def broadcasting() -> Tensor:
    """A bias that is added to every row, and a scale that is multiplied with every element."""
    x = Tensor(np.arange(6.0).reshape(3, 2), name="x")
    scale = Parameter(np.array(0.5), name="scale")
    bias = Parameter(np.array([1.0, -1.0]), name="b")
    m = x * scale
    a = m + bias
    m.name, a.name = "m", "a"
    loss = (a * a).sum()
    loss.name = "L"
    return loss
