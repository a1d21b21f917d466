"""Fused ops opened: their definition in simpler ops, with numbers that add up to the fused op's own."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_edu.functional as F
import viz
from tinygrad_edu import Tensor, nn, optim
from tinygrad_edu.nn import Parameter
from viz.opening import open_fused
from viz.trace import gather

RANDOM = np.random.default_rng(0)


def tensor(*shape: int) -> Tensor:
    return Tensor(RANDOM.normal(size=shape), requires_grad=True)


FUSED: dict[str, Callable[[], Tensor]] = {
    "softmax": lambda: F.softmax(tensor(2, 3)),
    "log_softmax": lambda: F.log_softmax(tensor(2, 3)),
    "logsumexp": lambda: F.logsumexp(tensor(2, 3), axis=-1),
    "gelu": lambda: F.gelu(tensor(4)),
    "gelu_tanh": lambda: F.gelu(tensor(4), "tanh"),
    "linear": lambda: F.linear(tensor(2, 3), tensor(4, 3), tensor(4)),
    "layer_norm": lambda: F.layer_norm(tensor(2, 4), tensor(4), tensor(4)),
    "cross_entropy": lambda: F.cross_entropy(tensor(3, 4), np.array([0, 3, 1]), label_smoothing=0.1),
    "mse_loss": lambda: F.mse_loss(tensor(3), tensor(3)),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(tensor(3), np.array([0.0, 1, 1])),
    "attention": lambda: F.scaled_dot_product_attention(tensor(2, 3, 4), tensor(2, 3, 4), tensor(2, 3, 4)),
    "prod": lambda: tensor(5).prod(),
}


def run_back(y: Tensor) -> Tensor:
    loss = (y * Tensor(RANDOM.normal(size=y.shape))).sum()
    loss.backward()
    return loss


@pytest.mark.parametrize("all_of_them", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_the_definition_passes_on_what_the_fused_op_did(name: str, all_of_them: bool) -> None:
    y = FUSED[name]()
    loss = run_back(y)
    closed, opened = gather(loss), gather(loss)
    open_fused(opened, [name], all_of_them)
    gradients = {card.tensor: card.gradient for card in closed.cards}
    assert all(card.tensor.op is None or card.tensor.op.name != name for card in opened.cards)
    assert len(opened.cards) > len(closed.cards) - 2
    for card in opened.cards:
        for use in card.uses:
            assert use in use.target.inputs
            assert use.source is card
        terms = [edge.contribution for edge in card.uses if edge.contribution is not None]
        if card.tensor in gradients and gradients[card.tensor] is not None and terms:
            np.testing.assert_allclose(sum(terms), gradients[card.tensor], rtol=1e-6, atol=1e-12)
        elif card.gradient is not None and terms:
            np.testing.assert_allclose(sum(terms), card.gradient, rtol=1e-6, atol=1e-12)
    steps = [card.step for card in opened.cards if card.step is not None]
    assert sorted(steps, reverse=True) == steps == list(range(len(steps), 0, -1))
    order = {card: number for number, card in enumerate(opened.cards)}
    assert all(order[edge.source] < order[card] for card in opened.cards for edge in card.inputs)


def test_an_op_is_opened_by_its_name_or_by_that_of_what_it_made() -> None:
    x = Tensor(np.eye(3), requires_grad=True, name="x")
    first, second = F.softmax(x), F.gelu(x)
    first.name, second.name = "p", "g"
    loss = run_back(first + second)
    assert "▾ softmax, opened" in viz.draw(loss, expand=["softmax"]).source
    assert "▾ gelu, opened" not in viz.draw(loss, expand=["softmax"]).source
    assert "▾ gelu, opened" in viz.draw(loss, expand="g").source
    both = viz.draw(loss, fused=False).source
    assert "▾ softmax, opened" in both
    assert "▾ gelu, opened" in both
    assert "exp(" in both


@pytest.mark.parametrize("expand", [["softmax", "gelu"], ["gelu", "softmax"]])
def test_two_in_a_row(expand: list[str]) -> None:
    x = Tensor(np.eye(3), requires_grad=True, name="x")
    loss = run_back(F.softmax(F.gelu(x)))
    trace = gather(loss)
    open_fused(trace, expand)
    (card,) = (card for card in trace.cards if card.name == "x")
    np.testing.assert_allclose(sum(edge.contribution for edge in card.uses), x.grad.data)


def test_what_is_opened_in_a_folded_module_stays_in_sight() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Softmax(), nn.Linear(3, 1))
    loss = model(Tensor(np.ones((2, 3), np.float32))).sum()
    loss.backward()
    source = viz.draw(loss, names={"model": model}, depth=1, expand=["softmax"]).source
    assert "▾ softmax, opened" in source
    assert "▾ model.1" in source
    assert "▸ model.0" in source


def test_an_opened_loss_is_no_part_of_the_model_and_leaves_it_open() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    loss = F.cross_entropy(model(Tensor(np.ones((2, 3), np.float32))), np.array([0, 1]))
    loss.backward()
    source = viz.draw(loss, names={"model": model}, fused=False, budget=12).source
    assert "▾ model" in source
    assert "▸ cross_entropy, opened" in source
    assert "▾ cross_entropy, opened" in viz.draw(loss, names={"model": model}, expand=["cross_entropy"]).source


def test_self_attention_of_one_tensor_and_inputs_made_from_each_other() -> None:
    x = Parameter(RANDOM.normal(size=(3, 2)), name="x")
    y = F.scaled_dot_product_attention(x, x * 2.0, x)
    loss = run_back(y)
    trace = gather(loss)
    open_fused(trace, all_of_them=True)
    (card,) = (card for card in trace.cards if card.name == "x")
    np.testing.assert_allclose(sum(edge.contribution for edge in card.uses), x.grad.data)


def test_before_backward_and_with_a_highlight() -> None:
    w = Parameter(np.eye(3), name="w")
    loss = F.softmax(w).sum()
    assert "not run" in viz.draw(loss, fused=False).source
    loss.backward()
    source = viz.draw(loss, fused=False, highlight=w).source
    assert "The chain rule for w" in source
    assert "penwidth=3" in source


def test_a_trace_without_fused_ops_stays_as_it_is() -> None:
    y = tensor(3).sin().sum()
    assert viz.draw(y, fused=False).source == viz.draw(y).source


def test_the_frames_of_a_page_know_where_in_an_opened_graph_they_are() -> None:
    pytest.importorskip("pygraphviz")
    loss = F.cross_entropy(tensor(3, 4), np.array([0, 3, 1]))
    loss.backward()
    data = re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", viz.steps(loss, fused=False).html)
    assert data is not None
    places = [frame["place"] for frame in json.loads(data[1])["views"][0]["frames"] if frame["phase"] == "forward"]
    assert len(places) > 10
    assert places == sorted(places)
    assert places[-1] == len(viz.draw(loss, fused=False).view.trace.cards) - 1


@pytest.mark.parametrize("options", [{"fused": False}, {"expand": "softmax"}])
def test_what_was_changed_in_place_stays_closed_and_says_why(options: dict) -> None:
    x = tensor(2, 3)
    loss = (F.softmax(x) ** 2).sum()
    loss.backward()
    optim.SGD([x], lr=1.0).step()
    drawing = viz.draw(loss, **options)
    softmax = next(card for card in drawing.view.trace.cards if card.op_name == "softmax")
    assert softmax.note == "not opened: an input was changed in place after the op ran"
    assert softmax.note in drawing.source
