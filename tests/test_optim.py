"""Optimizers against PyTorch's and against their formulas; schedules, clipping, state and refusals."""

import copy
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.requires import require_torch
from tests.samples import real
from tinygrad_edu import GraphError, Tensor, nn, optim
from tinygrad_edu.ops import blocks

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5}),
]
START = {
    "matrix": np.random.default_rng(1).normal(size=(3, 2)),
    "vector": np.array([0.5, -2.0]),
    "scalar": np.array(1.5),
}
X = np.random.default_rng(2).normal(size=(8, 3))


def parameters(dtype: Any = np.float64) -> list[nn.Parameter]:
    return [nn.Parameter(value.astype(dtype)) for value in START.values()]


def loss_of(tensors: Any, x: Any) -> Any:
    """Reads the same with our tensors and PyTorch's."""
    matrix, vector, scalar = tensors
    return ((x @ matrix + vector).tanh() * scalar - 0.3).square().mean()


def train(tensors: Any, optimizer: Any, x: Any, steps: int = 20) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(tensors, x).backward()
        optimizer.step()


def values(tensors: list[Any]) -> list[Any]:
    return [tensor.tolist() for tensor in tensors]


class TestParity:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
    @pytest.mark.parametrize(("name", "settings"), SETTINGS)
    def test_twenty_steps_are_those_of_pytorch(
        self, name: str, settings: dict[str, Any], dtype: Any, tolerance: float
    ) -> None:
        torch = require_torch()
        ours = parameters(dtype)
        theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]
        train(ours, getattr(optim, name)(ours, **settings), Tensor(X.astype(dtype)))
        train(theirs, getattr(torch.optim, name)(theirs, **settings), torch.tensor(X.astype(dtype)))
        for mine, its, start in zip(ours, theirs, START.values(), strict=True):
            assert mine.dtype == dtype
            assert not np.allclose(mine.data, start, atol=1e-3)
            np.testing.assert_allclose(mine.data, its.detach().numpy(), rtol=tolerance, atol=tolerance)

    def test_groups_have_settings_of_their_own(self) -> None:
        torch = require_torch()
        ours = parameters()
        theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]

        def groups(p: list[Any]) -> list[dict[str, Any]]:
            return [{"params": iter(p[:1]), "weight_decay": 0.3}, {"params": p[1], "lr": 0.2}, {"params": p[2:]}]

        train(ours, optim.AdamW(groups(ours), lr=0.05, weight_decay=0.1), Tensor(X))
        train(theirs, torch.optim.AdamW(groups(theirs), lr=0.05, weight_decay=0.1), torch.tensor(X))
        for mine, its in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.data, its.detach().numpy(), rtol=1e-10)

    @pytest.mark.parametrize("max_norm", [1e-3, 1.0, 13.0, 1e6])
    def test_clipping(self, max_norm: float) -> None:
        torch = require_torch()
        ours = [nn.Parameter(np.zeros(3)), nn.Parameter(0.0, dtype=float), nn.Parameter([1.0])]
        theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]
        for mine, its, gradient in zip(ours, theirs, [np.array([3.0, -4.0, 0.0]), np.array(12.0)], strict=False):
            mine.grad, its.grad = Tensor(gradient), torch.tensor(gradient)
        norm = optim.clip_grad_norm_(iter(ours), max_norm)
        assert norm == pytest.approx(13)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)))
        assert ours[2].grad is None
        for mine, its in zip(ours[:2], theirs, strict=False):
            np.testing.assert_allclose(mine.grad.data, its.grad.numpy(), rtol=1e-5)  # theirs divides by norm + 1e-6


class TestStep:
    def test_momentum_and_decay_by_hand(self) -> None:
        for shape in [(), (2,)]:
            w, expected, velocity = nn.Parameter(np.full(shape, 2.0)), 2.0, 0.0
            optimizer = optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.5)
            for _ in range(4):
                w.grad = Tensor(np.ones(shape))
                optimizer.step()
                velocity = 0.9 * velocity + 1 + 0.5 * expected
                expected -= 0.1 * velocity
            np.testing.assert_allclose(w.data, np.full(shape, expected))

    def test_the_first_step_of_adam_is_as_long_as_the_learning_rate(self) -> None:
        w = nn.Parameter(np.zeros(3))
        w.grad = Tensor(np.array([1e-3, -5.0, 1e4]))
        optim.Adam([w], lr=0.1).step()
        np.testing.assert_allclose(w.data, [-0.1, 0.1, -0.1], rtol=1e-4)

    @pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
    def test_a_parameter_without_gradient_stays(self, kind: Callable[..., optim.Optimizer]) -> None:
        used, unused = nn.Parameter([1.0]), nn.Parameter([1.0])
        optimizer = kind([unused, used], lr=0.1, weight_decay=0.1)
        (used * 2).sum().backward()
        optimizer.step()
        assert unused.tolist() == [1]
        assert used.tolist() != [1]

    def test_a_gradient_that_comes_late_starts_adam_from_the_beginning(self) -> None:
        late, early = nn.Parameter([0.0]), nn.Parameter([0.0])
        optimizer = optim.Adam([early, late], lr=0.1)
        for step in range(5):
            early.grad = Tensor([1.0])
            late.grad = Tensor([1.0]) if step == 4 else None
            optimizer.step()
        np.testing.assert_allclose(late.data, [-0.1], rtol=1e-5)

    @pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
    def test_the_gradient_and_the_array_are_kept(self, kind: Callable[..., optim.Optimizer]) -> None:
        w = nn.Parameter([1.0, 2.0])
        array, w.grad = w.data, Tensor([3.0, 4.0])
        kind([w], lr=0.1, weight_decay=0.1).step()
        assert w.data is array
        assert w.grad.tolist() == [3, 4]

    def test_a_single_tensor_will_do(self) -> None:
        w = nn.Parameter([1.0, 2.0])
        w.grad = Tensor([1.0, 1.0])
        optim.SGD(w, lr=1).step()
        assert w.tolist() == [0, 1]

    def test_zero_grad(self) -> None:
        ours = parameters()
        loss_of(ours, Tensor(X)).backward()
        optim.SGD(ours).zero_grad()
        assert [p.grad for p in ours] == [None] * 3

    @pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
    def test_a_step_between_forward_and_backward_is_an_error(self, kind: Callable[..., optim.Optimizer]) -> None:
        model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        optimizer = kind(model.parameters())
        x = Tensor(np.ones((4, 2), np.float32))
        model(x).sum().backward()
        before = [p.grad.tolist() for p in model.parameters()]
        loss = model(x).sum()
        optimizer.step()
        with pytest.raises(GraphError, match=r"linear \(4, 1\) in 2: input 1 was changed in place after the op ran"):
            loss.backward()
        assert [p.grad.tolist() for p in model.parameters()] == before
        model(x).sum().backward()

    def test_adam_steps_through_any_memory_layout_and_in_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values, slopes = real(6, 50), real(6, 50, seed=1)
        found = []
        for block, array in ((1 << 16, values), (40, values), (40, values.T.copy().T)):
            monkeypatch.setattr(blocks, "BLOCK", block)
            w = nn.Parameter(np.zeros_like(values))
            w.data = array.copy("K")
            optimizer = optim.AdamW([w], lr=0.1)
            for step in range(3):
                w.grad = Tensor(slopes * (step + 1))
                optimizer.step()
            found.append(w.data)
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
        assert not found[2].flags.c_contiguous

    def test_adam_in_float16_counts_in_float32(self) -> None:
        w = nn.Parameter(np.ones(3, np.float16))
        optimizer = optim.Adam([w], lr=0.1)
        w.grad = Tensor(np.array([0, 1, 300], np.float16))  # 300² is too much for float16, and eps too little
        optimizer.step()
        np.testing.assert_allclose(w.data, [1, 0.9, 0.9], atol=1e-3)
        assert w.dtype == np.float16


class TestClipping:
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_norm_that_is_no_number_leaves_the_gradients_alone(self, bad: float) -> None:
        one, other = nn.Parameter([1.0, 2.0]), nn.Parameter([3.0])
        one.grad, other.grad = Tensor([bad, 5.0]), Tensor([100.0])
        norm = optim.clip_grad_norm_([one, other], 1.0)
        assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
        np.testing.assert_array_equal(one.grad.data, [bad, 5])
        assert other.grad.tolist() == [100]

    def test_large_float32_gradients_do_not_overflow(self) -> None:
        w = nn.Parameter([0.0, 0.0])
        w.grad = Tensor([3e30, 4e30])
        assert optim.clip_grad_norm_(w, 1.0) == pytest.approx(5e30)
        np.testing.assert_allclose(w.grad.data, [0.6, 0.8], rtol=1e-6)
        assert w.grad.dtype == np.float32

    def test_without_gradients_the_norm_is_zero(self) -> None:
        assert optim.clip_grad_norm_([nn.Parameter([1.0])], 1.0) == 0

    @pytest.mark.parametrize("max_norm", [-1.0, math.nan])
    def test_max_norm_is_not_negative(self, max_norm: float) -> None:
        with pytest.raises(ValueError, match="max_norm must not be negative"):
            optim.clip_grad_norm_([], max_norm)


class TestSchedules:
    @staticmethod
    def rates(make: Callable[[optim.Optimizer], optim.Schedule], number: int, lr: float = 1.0) -> list[float]:
        optimizer = optim.SGD([nn.Parameter(1.0)], lr=lr)
        schedule, found = make(optimizer), []
        for _ in range(number):
            found.append(optimizer.groups[0]["lr"])
            schedule.step()
        return found

    def test_steps(self) -> None:
        rates = self.rates(lambda o: optim.StepLR(o, 3, gamma=0.5), 8)
        assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]

    def test_cosine(self) -> None:
        rates = self.rates(lambda o: optim.CosineLR(o, 8), 11, lr=2.0)
        expected = [1 + math.cos(math.pi * min(step, 8) / 8) for step in range(11)]
        assert rates == pytest.approx(expected, abs=1e-12)
        assert rates[0] == 2

    def test_cosine_after_a_warm_up(self) -> None:
        rates = self.rates(lambda o: optim.CosineLR(o, 12, warmup_steps=4, final=0.1), 15)
        assert rates[:5] == [0.25, 0.5, 0.75, 1, 1]
        assert rates[8] == pytest.approx(0.55)
        assert rates[12:] == pytest.approx([0.1] * 3)
        assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:13]))

    def test_warm_up_alone(self) -> None:
        assert self.rates(lambda o: optim.CosineLR(o, 2, warmup_steps=2), 4) == [0.5, 1, 1, 0]

    @pytest.mark.parametrize(("name", "mine"), [("StepLR", {"step_size": 4}), ("CosineAnnealingLR", {"T_max": 20})])
    def test_as_in_pytorch(self, name: str, mine: dict[str, Any]) -> None:
        torch = require_torch()
        optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.3)
        schedule, expected = getattr(torch.optim.lr_scheduler, name)(optimizer, **mine), []
        for _ in range(20):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        make = (lambda o: optim.StepLR(o, 4)) if name == "StepLR" else (lambda o: optim.CosineLR(o, 20))
        assert self.rates(make, 20, lr=0.3) == pytest.approx(expected)

    def test_each_group_keeps_its_share(self) -> None:
        groups = [{"params": [nn.Parameter(1.0)]}, {"params": [nn.Parameter(1.0)], "lr": 10.0}]
        optimizer = optim.SGD(groups, lr=1.0)
        schedule = optim.StepLR(optimizer, 1)
        schedule.step()
        assert [group["lr"] for group in optimizer.groups] == [0.1, 1]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda o: optim.StepLR(o, 0), "step_size must be at least 1"),
            (lambda o: optim.CosineLR(o, 0), "0 <= warmup_steps <= total_steps"),
            (lambda o: optim.CosineLR(o, 5, warmup_steps=6), "got 6 and 5"),
            (lambda o: optim.CosineLR(o, 5, warmup_steps=-1), "got -1 and 5"),
        ],
    )
    def test_refusals(self, make: Callable[[optim.Optimizer], Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make(optim.SGD([nn.Parameter(1.0)]))


class TestState:
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
    @pytest.mark.parametrize(("kind", "settings"), SETTINGS)
    def test_a_copy_goes_on_alike_with_the_copied_model(
        self, kind: str, settings: dict[str, Any], duplicate: Callable[[Any], Any]
    ) -> None:
        def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
            optimizer.zero_grad()
            (model(Tensor(X)) ** 2).mean().backward()
            optimizer.step()

        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        optimizer = getattr(optim, kind)(model.parameters(), **settings)
        step(model, optimizer)
        other, its = duplicate((model, optimizer))
        before = {name: value.copy() for name, value in other.state_dict().items()}
        for _ in range(3):
            step(model, optimizer)
        for name, value in other.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        for _ in range(3):
            step(other, its)
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name], value)

    @pytest.mark.parametrize(("name", "settings"), SETTINGS)
    def test_a_state_may_lie_in_memory_in_any_order(self, name: str, settings: dict[str, Any]) -> None:
        def run(order: Any) -> Any:
            p = nn.Parameter(np.zeros((2, 3)))
            optimizer = getattr(optim, name)([p], **settings)
            for i in range(4):
                p.grad = Tensor(np.arange(6.0).reshape(2, 3) - 4 * i)
                optimizer.step()
                saved = optimizer.state_dict()
                states = [{key: np.array(value, order=order) for key, value in each.items()} for each in saved["state"]]
                optimizer.load_state_dict({**saved, "state": states})
            return p.data

        np.testing.assert_array_equal(run("F"), run("C"))

    @pytest.mark.parametrize(("name", "settings"), SETTINGS)
    def test_a_resumed_run_goes_on_bit_for_bit(self, name: str, settings: dict[str, Any]) -> None:
        def make(tensors: list[nn.Parameter], **settings: Any) -> tuple[optim.Optimizer, optim.Schedule]:
            optimizer = getattr(optim, name)(tensors, **settings)
            return optimizer, optim.CosineLR(optimizer, 10, warmup_steps=2)

        def run(tensors: list[nn.Parameter], optimizer: optim.Optimizer, schedule: optim.Schedule) -> None:
            for _ in range(4):
                train(tensors, optimizer, Tensor(X), steps=1)
                schedule.step()

        ours = parameters()
        optimizer, schedule = make(ours, **settings)
        run(ours, optimizer, schedule)
        states = optimizer.state_dict(), schedule.state_dict()
        resumed = [nn.Parameter(p.data) for p in ours]
        run(ours, optimizer, schedule)  # what goes on must not change the saved state

        other, other_schedule = make(resumed, momentum=0.5) if name == "SGD" else make(resumed, eps=0.5)
        other.load_state_dict(states[0])
        other_schedule.load_state_dict(states[1])
        saved = repr(states)
        run(resumed, other, other_schedule)
        assert repr(states) == saved
        assert values(resumed) == values(ours)
        assert other.steps == optimizer.steps == 8

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (lambda: optim.Adam(parameters()[:2]), "the state has 2 parameters in 1 groups, this optimizer 3 in 1"),
            (lambda: optim.Adam([{"params": [p]} for p in parameters()]), "3 parameters in 3 groups"),
            (lambda: optim.SGD(parameters()), "another optimizer, with settings lr, momentum, nesterov, weight_decay"),
            (
                lambda: optim.Adam(parameters()[::-1]),
                r"m of parameter 2 is \(3, 2\), the parameter \(\)",
            ),
        ],
    )
    def test_a_state_that_does_not_fit_changes_nothing(self, other: Callable[[], Any], message: str) -> None:
        ours, source = parameters(), other()
        optimizer = optim.Adam(ours, lr=0.05)
        train(ours, optimizer, Tensor(X), steps=2)
        for group in source.groups:
            for p in group["params"]:
                p.grad = Tensor(np.ones(p.shape))
        source.step()
        before = repr(optimizer.state_dict())
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(source.state_dict())
        assert repr(optimizer.state_dict()) == before


W = nn.Parameter([1.0, 2.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD([]), ValueError, "SGD: there is nothing to optimize"),
        (lambda: optim.Adam(iter([])), ValueError, "Adam: there is nothing to optimize"),
        (lambda: optim.SGD([W, W]), ValueError, "a parameter appears twice"),
        (lambda: optim.SGD([{"params": [W]}, {"params": [W]}]), ValueError, "a parameter appears twice"),
        (lambda: optim.SGD([W], lr=-0.1), ValueError, "lr must be a number, not negative, got -0.1"),
        (lambda: optim.SGD([{"params": [W], "lr": -2}]), ValueError, "lr must be a number, not negative, got -2"),
        (lambda: optim.Adam([W], lr=math.nan), ValueError, "lr must be a number, not negative, got nan"),
        (lambda: optim.SGD([W], momentum=-0.1), ValueError, "momentum must be a number, not negative"),
        (lambda: optim.AdamW([W], weight_decay=-0.1), ValueError, "AdamW: weight_decay must be a number, not negative"),
        (lambda: optim.SGD([W], nesterov=True), ValueError, "nesterov needs a momentum"),
        (
            lambda: optim.Adam([W], betas=(0.9, 1.0)),
            ValueError,
            r"betas must be two numbers, at least 0 and below 1, got \(0.9, 1.0\)",
        ),
        (lambda: optim.SGD([{"params": [W], "beta": 1}]), TypeError, "SGD has no setting beta; it knows lr, momentum"),
        (lambda: optim.SGD([W], lr="a"), ValueError, "lr must be a number, not negative, got 'a'"),
        (lambda: optim.Adam([W], betas=0.9), ValueError, "betas must be two numbers"),
        (lambda: optim.SGD(None), TypeError, "SGD: expected a list of parameters, got NoneType"),
        (lambda: optim.SGD([{"lr": 1}]), TypeError, 'a group is {"params"'),
        (lambda: optim.SGD([W * 2]), TypeError, "can only optimize float leaf tensors, got Tensor.*mul"),
        (lambda: optim.SGD([Tensor([1, 2])]), TypeError, "can only optimize float leaf tensors"),
        (lambda: optim.SGD(["weight"]), TypeError, "can only optimize float leaf tensors, got 'weight'"),
        (lambda: optim.SGD(nn.Linear(2, 2)), TypeError, r"got a module: pass module\.parameters\(\)"),
        (lambda: optim.Optimizer([W], lr=1.0).update(W.data, W.data, {}, {}), NotImplementedError, "define update"),
    ],
)
def test_refusals_teach(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
