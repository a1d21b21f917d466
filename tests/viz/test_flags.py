"""Flags: what is conspicuous is said in words, on the card and in the heading, and nothing else is."""

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter
from viz.flags import find_flags
from viz.trace import gather


def flags(root: Tensor, **names: object) -> list[str]:
    trace = gather(root, names)
    return [f"{flag.card.name if flag.card else ''}: {flag.words}" for flag in find_flags(trace, names)]


def run_back(root: Tensor) -> Tensor:
    root.backward()
    return root


def test_a_healthy_network_has_none() -> None:
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    loss = run_back(F.cross_entropy(model(Tensor(x)), np.arange(8) % 2))
    assert flags(loss, model=model) == []
    assert "⚠" not in viz.draw(loss).source


def test_units_that_are_closed_on_every_row() -> None:
    x = Tensor([[-1.0, 2.0, 3.0], [-2.0, -1.0, 4.0]], requires_grad=True, name="x")
    h = x.relu()
    h.name = "h"
    loss = run_back(h.sum())
    assert flags(loss) == ["h: 1 of 3 units is closed on every row (dead)"]
    source = viz.draw(loss).source
    assert source.count("⚠ 1 of 3 units is closed on every row (dead)") == 1
    assert source.count("⚠ h: 1 of 3 units is closed on every row (dead)") == 1
    assert flags(run_back(Tensor([[-1.0, 1.0]], requires_grad=True).relu().sum())) == []


def test_saturated_units() -> None:
    loss = run_back(Tensor([[9.0, 0.0], [-9.0, 0.1]], requires_grad=True).tanh().sum())
    assert flags(loss) == ["h: 1 of 2 units is saturated on every row (saturated)"]


def test_the_first_op_that_made_nan() -> None:
    x = Tensor([1.0, -1.0], requires_grad=True, name="x")
    with np.errstate(invalid="ignore"):
        a = x.log()
    a.name = "a"
    loss = run_back((a * 2.0).sum())
    assert flags(loss) == ["a: log (2,) made NaN (1 of 2 elements, the first at (1,)) from finite inputs"]
    assert "⚠ a: log (2,) made NaN" in viz.draw(loss).source


def test_nan_that_came_in_and_infinity_that_was_meant() -> None:
    loss = run_back((Tensor([1.0, np.nan], requires_grad=True, name="x") * 2.0).sum())
    assert flags(loss) == ["x: its values hold NaN"]
    scores = Tensor(np.zeros((3, 3)), requires_grad=True)
    masked = F.softmax(te.where(np.tri(3, dtype=bool), scores, -np.inf))
    assert flags(run_back((masked * masked).sum())) == []


def test_nan_that_only_the_backward_pass_makes() -> None:
    x = Tensor([0.0, 4.0], requires_grad=True, name="x")
    y = x.sqrt()
    y.name = "y"
    with np.errstate(all="ignore"):
        loss = run_back((y * Tensor([0.0, 1.0])).sum())
    (flag,) = flags(loss)
    assert flag.startswith("y: backward of sqrt (2,): the gradient of input 0 became NaN")


def test_a_parameter_without_a_gradient() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.used, self.forgotten = Parameter(2.0), Parameter(3.0)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.used

    model = Forgetful()
    loss = run_back(model(Tensor(1.0)))
    assert flags(loss, model=model) == [": 1 parameter is not in this graph, no gradient reaches: model.forgotten"]
    assert flags(loss, other=nn.Linear(1, 1)) == []
    plus = te.Op("plus", lambda a, b: a + b, vjp=(lambda g, y, a, b: g, None), formula=("G", ""))
    y = te.apply(plus, Tensor(1.0, requires_grad=True), Parameter(2.0, name="w"))
    assert flags(run_back(y)) == ["w: no gradient reached this parameter"]


def scale(factor: float) -> nn.Module:
    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * factor

    return Scale()


@pytest.mark.parametrize(
    ("factor", "words"), [(1e-4, "the gradient vanishes: norm 0.0001, 0.0001 times"), (1e4, "explodes: norm 1e+04")]
)
def test_gradients_that_jump_from_module_to_module(factor: float, words: str) -> None:
    model = nn.Sequential(scale(1.0), scale(factor), scale(1.0))
    loss = run_back(model(Tensor(1.0, requires_grad=True)))
    (flag,) = flags(loss)
    assert words in flag
    assert "the next module’s" in flag
    assert flags(run_back(nn.Sequential(scale(1.0), scale(0.01), scale(0.01))(Tensor(1.0, requires_grad=True)))) == []


def test_a_jump_is_seen_through_ops_and_on_folded_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = scale(2.0), scale(1e-5)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x) + 1.0)

    loss = run_back(Net()(Tensor(1.0, requires_grad=True)))
    (flag,) = flags(loss)
    assert "1e−05 times" in flag
    assert "⚠ " in viz.draw(loss, depth=0).source


def test_the_flags_of_one_fold_are_one_line_of_the_heading() -> None:
    model = nn.Sequential(*(nn.Sequential(scale(1e-5), scale(1.0)) for _ in range(3)))
    loss = run_back(model(Tensor(1.0, requires_grad=True)))
    assert len(flags(loss)) == 2
    source = viz.draw(loss, depth=0).source
    assert source.count("⚠ ▸ Sequential: the gradient vanishes") == 1
    assert "; 1 more inside" in source


def test_before_backward_only_values_are_judged() -> None:
    model = nn.Sequential(scale(1e-9), nn.Linear(1, 1))
    assert flags(model(Tensor([[1.0]])), model=model) == []


def test_many_flags_are_counted_in_the_heading() -> None:
    x = Tensor(-np.ones((2, 2)), requires_grad=True, name="x")
    loss = run_back(sum((x * float(n)).relu().sum() for n in range(1, 8)))
    assert "⚠ and 3 more" in viz.draw(loss).source
