"""te.why: each way a gradient can go wrong is told in words that name the op, the module and the line."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.samples import SAMPLES, Sample, real
from tinygrad_edu import Tensor, nn, optim
from tinygrad_edu.origins import lines

X = real(8, 4).astype(np.float32)


def leaf(data: Any = X) -> Tensor:
    return Tensor(data, requires_grad=True)


def told(tensor: Tensor, loss: Tensor | None = None, verdict: str = "zero") -> str:
    """All that the doctor says, on one line."""
    diagnosis = te.why(tensor, loss)
    assert diagnosis.verdict == verdict, diagnosis
    assert repr(diagnosis) == str(diagnosis)
    assert str(diagnosis).isascii()  # a terminal may know no other
    assert max(map(len, str(diagnosis).splitlines())) <= 80 or "/" in str(diagnosis)
    return " ".join(str(diagnosis).split())


class TestNone:
    def test_not_required(self) -> None:
        text = told(Tensor(X), verdict="none")
        assert "does not require one" in text
        assert "requires_grad=True" in text

    def test_integers(self) -> None:
        assert "only floats have gradients" in told(Tensor([1, 2]), verdict="none")

    def test_frozen(self) -> None:
        model = nn.Linear(4, 2)
        model.requires_grad_(False)
        assert "module.requires_grad_()" in told(model.weight, verdict="none")

    def test_not_called_yet(self) -> None:
        x = leaf()
        text = told(x, (x * x).sum(), "none")
        assert "backward() was not called on this loss yet" in text
        assert "healthy: norm" in text

    def test_cleared(self) -> None:
        x = leaf()
        loss = (x * x).sum()
        loss.backward()
        x.grad = None
        assert "zero_grad() cleared it" in told(x, verdict="none")

    def test_an_intermediate_keeps_none(self) -> None:
        y = leaf() * 2
        loss = y.sum()
        loss.backward()
        assert "retain_grad()" in told(y, verdict="none")
        y.retain_grad()
        loss.backward()
        assert told(y, verdict="healthy")

    def test_no_loss_at_all(self) -> None:
        verdicts = []
        thread = threading.Thread(target=lambda: verdicts.append(str(te.why(leaf()))))
        thread.start()
        thread.join()
        assert "backward() was not called in this thread" in verdicts[0]

    def test_the_loss_is_remembered_weakly(self) -> None:
        x = leaf()
        (x * x).sum().backward()
        gc.collect()
        assert "the loss that it came from is gone" in told(x, verdict="healthy")

    def test_not_reached(self) -> None:
        text = told(leaf(), (leaf() * Tensor(X + 1)).sum(), "none")
        assert "does not depend on it" in text
        assert "a constant enters: float32 (8, 4) in mul (8, 4)" in text
        assert "te.record_lines()" in text

    def test_a_loss_without_any_gradient(self) -> None:
        x = leaf()
        with te.no_grad():
            loss = (x * x).sum()
        assert "the loss depends on nothing that requires a gradient" in told(x, loss, "none")

    def test_a_loss_that_is_made_from_numbers(self) -> None:
        w = leaf()
        loss = Tensor((w * w).sum().item(), requires_grad=True)
        loss.backward()
        assert "made from numbers: .item(), float() or .numpy() lost the graph" in told(w, loss, "none")

    def test_only_where_no_gradient_flows(self) -> None:
        w, logits = leaf(), leaf()
        loss = te.where(logits.data > 0, logits, 0.0).sum() + te.apply(te.ops.registry["sign"], w).sum()
        assert "does not depend on it" in told(w, loss, "none")
        target = Tensor(X > 0)
        picked = te.apply(te.Op("take", lambda a, b: a + b, vjp=(lambda g, y, a, b: g, None)), logits, w).sum()
        text = told(w, picked, "none")
        assert "input 1 of take (8, 4), in which the op has no derivative" in text
        assert target.dtype == bool


class TestCuts:
    def test_detach_is_named_without_any_mode(self) -> None:
        w, v = leaf(), leaf()
        hidden = w.tanh()
        text = told(w, (hidden.detach() * v).sum(), "none")
        assert "detach() cut tanh (8, 4) off" in text
        assert "perhaps" not in text

    def test_detach_of_a_graph_that_is_gone(self) -> None:
        w, v = leaf(), leaf()
        text = told(w, (w.tanh().detach() * v).sum(), "none")
        assert "detach() cut tanh (8, 4) off (perhaps with this tensor behind it" in text

        with te.record_lines():
            loss = (w.tanh().detach() * v).sum()
        text = told(w, loss, "none")
        assert "detach() cut tanh (8, 4) off, at" in text
        assert "perhaps" not in text
        assert "detach() cut" not in te.why(leaf(X + 1), loss).reasons[0]

    def test_a_detach_elsewhere_is_not_blamed(self) -> None:
        w, v, other = leaf(), leaf(), leaf()
        hidden = other.tanh()
        assert "detach() cut" not in told(w, (hidden.detach() * v).sum(), "none")

    def test_the_detached_tensor_itself(self) -> None:
        hidden = leaf().tanh()
        assert "detach() cut tanh (8, 4) off" in told(hidden.detach(), verdict="none")

    @pytest.mark.parametrize(
        ("cut", "words"),
        [
            (lambda h: h.detach() * 3, "detach() cut tanh (8, 4) off"),
            (lambda h: (h > 0).astype(np.float32), "greater (8, 4) gives bool values that no gradient flows through"),
            (lambda h: h.argmax(axis=1, keepdims=True) * 1.0, "argmax (8, 1) gives int64 values"),
            (lambda h: h.astype(int) + 0.5, "astype (8, 4) gives int64 values"),
        ],
    )
    def test_lines_tell_where(self, cut: Callable[[Tensor], Tensor], words: str) -> None:
        w, v = leaf(), leaf()
        with te.record_lines():
            hidden = w.tanh()
            loss = (cut(hidden) * v).sum()
        text = told(w, loss, "none")
        assert words in text
        assert "test_doctor.py:" in text

    def test_no_grad(self) -> None:
        w, v = leaf(), leaf()
        with te.record_lines():
            with te.no_grad():
                hidden = w.tanh() * 2
            loss = (hidden * v).sum()
        text = told(w, loss, "none")
        assert "tanh (8, 4) ran under no_grad, at " in text
        assert "hidden = w.tanh() * 2" in text

    def test_the_module_of_the_cut(self) -> None:
        class Cutting(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.detach()

        model = nn.Sequential(nn.Linear(4, 4), Cutting(), nn.Linear(4, 1))
        with te.record_lines():
            loss = model(X).sum()
        assert "detach() cut linear (8, 4) in 0 off in 1, at" in told(model[0].weight, loss, "none")

    def test_data(self) -> None:
        w, v = leaf(), leaf()
        assert "its own values enter mul (8, 4) as a constant" in told(w, (v * w.data).sum(), "none")
        with te.record_lines():
            hidden = w.tanh()
            loss = (v * Tensor(hidden.numpy())).sum()
        text = told(w, loss, "none")
        assert "the values of tanh (8, 4) at" in text
        assert "hidden = w.tanh()" in text


class TestZero:
    def test_every_relu_gate_closed(self) -> None:
        te.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
        model[0].bias.data[:] = -100
        with te.record_lines():
            loss = F.mse_loss(model(X), X[:, :1])
        loss.backward()
        text = told(model[0].weight)
        assert "input 1 of linear (8, 6) in 0" in text
        assert "relu (8, 6) in 1 at" in text
        assert "loss = F.mse_loss(model(X), X[:, :1])" in text
        assert "every ReLU gate is closed: none of its 48 inputs is above 0" in text
        assert "leaky_relu" in text
        assert "(relu (8, 6) in 1), is 0 throughout" in told(model[2].weight)
        assert told(model[2].bias, verdict="healthy")

    def test_weights_that_start_at_0(self) -> None:
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
        for p in model.parameters():
            p.data[:] = 0
        loss = F.mse_loss(model(X), X[:, :1])
        loss.backward()
        assert "weights that start at 0 pass no gradient on" in told(model[0].weight)
        assert "weights that start at 0 pass no gradient on" in told(model[2].weight)

    @pytest.mark.parametrize(
        ("run", "words"),
        [
            (lambda x: (x + 200).sigmoid(), "saturated: all 32 of its outputs are at its flat ends"),
            (lambda x: (x * 1e4).tanh(), "tanh (8, 4): saturated"),
            (lambda x: F.softmax(x * 1e6), "saturated: in 8 of 8 rows one element has all the weight"),
            (lambda x: F.softmax(x[:, :1]), "over an axis of length 1 is the constant 1"),
            (lambda x: x.masked_fill(X < 9, 0.0), "masked_fill (8, 4): the mask leaves none of 32"),
            (lambda x: F.softmax(x + np.float32(-np.inf)), "8 of 8 rows are masked throughout"),
            (lambda x: te.where(X > 9, x, 1.0), "the condition chooses this input at none of 32 places"),
            (lambda x: te.where(X < 9, 1.0, x), "the condition chooses this input at none of 32 places"),
            (lambda x: x.clip(5, 6), "none of 32 elements are inside of the bounds"),
            (lambda x: te.maximum(x, 9.0), "this input is the larger one at none of 32 places"),
            (lambda x: x * np.zeros((8, 4), np.float32), "input 1 (float32 (8, 4)), is 0 throughout"),
            (lambda x: x @ np.zeros((4, 2), np.float32), "the other factor"),
            (lambda x: (x * 0).square(), "square (8, 4): its input is 0 throughout"),
            (lambda x: F.dropout(x, 1.0), "dropout keeps none of 32 elements"),
            (lambda x: F.elu(x - 300), "far below 0"),
            (lambda x: F.layer_norm(x[:, :1]), "over an axis of length 1 everything is its own mean"),
            (lambda x: F.cross_entropy(x, np.full(8, -100), reduction="sum"), "every target is ignored (-100)"),
            (lambda x: F.mse_loss(x, X), "the prediction equals the target everywhere"),
            (lambda x: x - x, "what its 2 uses send back cancels out"),
            (lambda x: x[[]].sum() + x[:0].sum(), "the index selects none of 32 elements"),
            (lambda x: F.scaled_dot_product_attention(x, X, X, np.zeros((8, 8), bool)), "8 of 8 rows are masked"),
            (lambda x: F.scaled_dot_product_attention(x, X, np.ones((8, 2))), "all values are the same"),
            (lambda x: F.scaled_dot_product_attention(x, X[:1], X[:1]), "all values are the same"),
            (lambda x: F.scaled_dot_product_attention(x, X, X, np.eye(8) == 1), "may attend to one key only"),
            (lambda x: F.scaled_dot_product_attention(X, X, x, np.zeros((8, 8), bool)), "8 of 8 columns are masked"),
        ],
    )
    def test_what_shut_it(self, run: Callable[[Tensor], Tensor], words: str) -> None:
        x = leaf()
        y = run(x)
        loss = y if y.ndim == 0 else (y * real(*y.shape, low=0.5).astype(np.float32)).sum()
        with np.errstate(invalid="ignore"):
            loss.backward()
        diagnosis = te.why(x, loss)
        assert diagnosis.verdict in ("zero", "tiny")  # tiny: by rounding
        assert words in " ".join(str(diagnosis).split())

    def test_a_hook(self) -> None:
        x = leaf()
        y = x * 2
        y.register_hook(lambda gradient: gradient * 0)
        loss = y.sum()
        loss.backward()
        assert "mul (8, 4): a hook may have made it 0" in told(x)

    def test_a_sum_of_softmax(self) -> None:
        x = leaf(np.zeros((2, 4)))
        loss = F.softmax(x).sum()
        loss.backward()
        assert "those of a softmax always add up to 1" in told(x)


class TestNaN:
    def test_born_in_the_forward_pass(self) -> None:
        x = leaf()
        with np.errstate(all="ignore"):
            loss = (x.log() * 2).exp().sum()
            loss.backward()
        text = told(x, verdict="nan")
        assert "it was born in the forward pass: log (8, 4) made NaN" in text
        assert "from finite inputs" in text
        assert "te.detect_anomaly()" in text

    def test_a_loss_that_is_nan_while_the_gradient_is_not(self) -> None:
        x = leaf()
        with np.errstate(all="ignore"):
            loss = x.log().sum()
            loss.backward()
        assert "but the loss itself is no finite number: log (8, 4) made NaN" in told(x, verdict="healthy")

    def test_born_in_the_backward_pass(self) -> None:
        x = leaf([1.0, 0.0, 4.0])
        with te.record_lines():
            loss = te.where(x.data > 0, x.sqrt(), 0.0).sum()
        with np.errstate(all="ignore"):
            loss.backward()
        text = told(x, verdict="nan")
        assert "NaN in 1 of 3 elements" in text
        assert "it was born in the backward pass: backward of sqrt (3,)" in text
        assert "x = te.where(mask, x, 1.0)" in text
        assert "loss = te.where(x.data > 0, x.sqrt(), 0.0).sum()" in text

    def test_infinite(self) -> None:
        x = leaf([1.0, 0.0])
        with np.errstate(all="ignore"):
            loss = x.sqrt().sum()
            loss.backward()
        assert "its slope at 0 infinite" in told(x, verdict="infinite")

    def test_a_learning_rate_that_is_too_high(self) -> None:
        te.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = optim.SGD(model.parameters(), lr=10.0)
        with np.errstate(all="ignore"):
            for _ in range(60):
                loss = F.mse_loss(model(X), X[:, :1])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss = F.mse_loss(model(X), X[:, :1])
            loss.backward()
        text = told(model[0].weight, verdict="nan")
        assert "linear (8, 8) in 0 made NaN" in text
        assert "a parameter is NaN: an optimizer step made it so. Lower the learning rate" in text


class TestSize:
    def test_vanished(self) -> None:
        te.manual_seed(0)
        model = nn.Sequential(*(layer for _ in range(12) for layer in (nn.Linear(4, 4), nn.Sigmoid())))
        loss = F.mse_loss(model(X), X)
        loss.backward()
        text = told(model[0].weight, verdict="tiny")
        assert "through 25 ops, most of it in the 12 sigmoid ops, together by a factor of" in text
        assert "... " in text
        assert "linear (8, 4) in 0" in text
        path = te.why(model[0].weight).path
        assert len(path) == 26
        assert path[0].norm == 1
        gradient = model[0].weight.grad
        assert gradient is not None
        assert path[-1].norm == pytest.approx(np.linalg.norm(gradient.data))

    def test_exploded(self) -> None:
        x = leaf()
        y = x
        for _ in range(5):
            y = y * 20
        y.sum().backward()
        loss = y.sum()
        text = told(x, loss, "huge")
        assert "grew from 1 to" in text
        assert "in the 5 mul ops, together by a factor of 3.2e+06" in text
        assert "clip_grad_norm_" in text

    def test_saturation_on_the_way(self) -> None:
        x = leaf(np.linspace(-9, 9, 32))
        loss = x.sigmoid().sum()
        loss.backward()
        assert "% saturated" in told(x, verdict="healthy")

    def test_healthy_and_how_it_flowed(self) -> None:
        x = leaf()
        loss = (x @ np.ones((4, 2), np.float32)).mean()
        loss.backward()
        text = told(x, verdict="healthy")
        assert "The gradient of tensor (8, 4) (input 0 of matmul (8, 2)) is healthy: norm 0.707" in text
        assert [passage.op for passage in te.why(x).path] == ["mean ()", "matmul (8, 2)", "here"]

    def test_several_backward_passes(self) -> None:
        x = leaf()
        loss = (x * x).sum()
        loss.backward()
        assert "instead" not in told(x, verdict="healthy")
        loss.backward()
        assert "several backward passes added up (zero_grad() forgets them)" in told(x, verdict="healthy")

    def test_rows_that_no_id_selected(self) -> None:
        table = nn.Embedding(6, 2)
        loss = table(np.array([1, 4, 4])).sum()
        loss.backward()
        text = told(table.weight, verdict="healthy")
        assert "8 of its 12 elements are exactly 0, among them the whole rows 0, 2, 3, 5" in text
        assert "no id selected 4 of the 6 rows: 0, 2, 3, 5" in text

    def test_elements_that_no_index_selected(self) -> None:
        x = leaf()
        loss = x[2:4, 1].sum()
        loss.backward()
        assert "the index selects only 2 of 32 elements" in told(x, verdict="healthy")

    def test_units_that_are_dead(self) -> None:
        te.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
        model[0].bias.data[:2] = -100
        loss = model(X).sum()
        loss.backward()
        text = told(model[0].weight, verdict="healthy")
        assert "among them the whole rows 0, 1" in text
        assert "ReLU gates are closed" in text


def test_a_graph_whose_values_have_changed() -> None:
    w = nn.Parameter(X)
    loss = (w * w).sum()
    loss.backward()
    optim.SGD([w]).step()
    text = told(w, verdict="unknown")
    assert "changed in place" in text
    assert "between backward() and the optimizer's step()" in text


def test_after_the_step_the_optimizer_is_named_where_the_changes_are_its_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].bias.requires_grad_(False)
    loss = model(X).sum()
    loss.backward()
    optimizer = optim.SGD(model.parameters())
    optimizer.step()
    text = told(model[0].weight, verdict="unknown")
    assert "3 of the 3 leaves of the loss were changed after the forward pass read them: exactly those" in text
    assert "which is what optimizer.step() does" in text
    assert "its .grad is still there, and healthy: norm" in text
    optimizer.zero_grad()
    text = told(model[0].weight, verdict="unknown")
    assert "3 of the 3 leaves" in text
    assert "what optimizer.step() does" not in text  # it may have been anything
    assert "its .grad" not in text


def test_a_loading_between_is_not_taken_for_a_step() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    loss = model(X).sum()
    model.load_state_dict(model.state_dict())
    text = told(model[0].weight, loss, verdict="unknown")
    assert "4 of the 4 leaves" in text
    assert "exactly those" not in text


def test_nothing_is_changed() -> None:
    x = leaf()
    loss = (x * x).sum()
    loss.backward()
    assert x.grad is not None
    before = x.grad.data.copy()
    te.why(x)
    np.testing.assert_array_equal(x.grad.data, before)


def test_a_loss_of_several_elements() -> None:
    x = leaf()
    assert "no .grad" in told(x, x * x, "none")


@pytest.mark.parametrize("wrong", [None, X, "x"])
def test_wrong_types(wrong: Any) -> None:
    with pytest.raises(TypeError, match="why: tensor must be a Tensor"):
        te.why(wrong)


def test_a_loss_that_is_no_tensor() -> None:
    with pytest.raises(TypeError, match="why: loss must be a Tensor, got float"):
        te.why(leaf(), 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.order and all(np.size(x) for x in s.inputs)], ids=str)
def test_every_op_can_be_examined(sample: Sample) -> None:
    inputs = [leaf(x) if getattr(x, "dtype", None) == np.float64 else x for x in sample.inputs]
    loss = te.apply(sample.op, *inputs, **sample.options)
    for x in inputs:
        if isinstance(x, Tensor):
            told(x, loss, "none")
            told(x, loss * 0.0, "none")


class TestLines:
    def test_are_forgotten_with_their_tensor(self) -> None:
        with te.record_lines():
            y = leaf() * 2
        assert lines.get(y) is not None
        number = len(list(lines))
        del y
        assert len(list(lines)) < number

    def test_are_not_recorded_outside(self) -> None:
        y = leaf() * 2
        assert lines.get(y) is None
        assert lines.get(None) is None

    def test_name_the_innermost_line_of_the_user(self) -> None:
        class Double(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x + x  # here

        with te.record_lines():
            y = nn.Sequential(Double())(leaf())
        assert str(lines.get(y)).endswith("return x + x  # here")
