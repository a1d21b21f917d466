"""Folding: what is drawn of a graph that is too large to be drawn, and that nothing is lost or turned round by it."""

import numpy as np
import pytest

import tinygrad_edu as te
import viz
from tests.viz.reading import parse, value_of
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter
from viz import formulas
from viz.fold import fold
from viz.folded import norms
from viz.parts import Card, View
from viz.text import norm, number
from viz.trace import gather

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


class Block(nn.Module):
    def __init__(self) -> None:
        self.norm = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class Net(nn.Module):
    def __init__(self, blocks: int) -> None:
        self.embed = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def net(blocks: int = 4) -> tuple[Tensor, Net]:
    te.manual_seed(0)
    model = Net(blocks)
    loss = (model(Tensor(X, requires_grad=True, name="x")) ** 2).mean()
    loss.backward()
    return loss, model


def chain(length: int) -> Tensor:
    y = Tensor(1.0, requires_grad=True, name="x")
    for _ in range(length):
        y = y * 0.999
    y.backward()
    return y


def view_of(root: Tensor, **options: object) -> View:
    return fold(gather(root), **options)


def names(view: View) -> list[str]:
    return [view.name(node) for node in view.folds]


def is_drawn_downwards(view: View) -> bool:
    """Whether the nodes can be put in an order in which every line leads on."""
    waiting = {node.id: {link.source.id for link in view.inputs[node.id]} for node in view.nodes}
    done: set[str] = set()
    while ready := [name for name, sources in waiting.items() if sources <= done]:
        done.update(ready)
        for name in ready:
            del waiting[name]
    return not waiting


def test_a_small_graph_is_not_folded() -> None:
    view = view_of(net(1)[0])
    assert view.folds == []
    assert view.note == ""
    assert len(view.nodes) == len(view.trace.cards)


@pytest.mark.parametrize(
    ("depth", "folded"),
    [
        (0, ["▸ Net"]),
        (1, ["▸ embed", "▸ blocks.0 … 3", "▸ head"]),
        (2, [f"▸ blocks.{n}.{part}" for n in range(4) for part in ("norm", "mlp")]),
        (9, []),
    ],
)
def test_depth_is_how_many_levels_stay_open(depth: int, folded: list[str]) -> None:
    assert names(view_of(net()[0], depth=depth)) == folded


def test_expand_opens_a_module_and_those_around_it() -> None:
    loss, model = net()
    assert names(view_of(loss, depth=0, expand=["blocks.2"])) == [
        "▸ embed",
        "▸ blocks.0",
        "▸ blocks.1",
        "▸ blocks.2.norm",
        "▸ blocks.2.mlp",
        "▸ blocks.3",
        "▸ head",
    ]
    named = viz.draw(loss, names={"net": model}, depth=0, expand=["net.blocks.2.mlp"]).source
    assert "▾ net.blocks.2.mlp" in named
    assert "▸ net.blocks.2.norm" in named


def test_expand_of_what_is_not_there_names_what_is_near() -> None:
    with pytest.raises(ValueError, match=r"expand='block.2' is no module .*; its modules: blocks\.2"):
        viz.draw(net()[0], expand=["block.2"])
    with pytest.raises(ValueError, match="its modules: none"):
        viz.draw(chain(2), expand=["x.y"])


def test_collapse_chooses_by_path_or_label() -> None:
    loss, _ = net(2)
    assert names(view_of(loss, collapse=lambda scope: scope.label == "Block", budget=None)) == [
        "▸ blocks.0",
        "▸ blocks.1",
    ]
    assert names(view_of(loss, collapse=lambda scope: scope.path == "blocks.1.mlp", budget=None)) == ["▸ blocks.1.mlp"]


def test_equal_modules_in_a_row_are_one_card() -> None:
    view = view_of(net(12)[0], depth=1)
    (stack,) = (node for node in view.folds if node.kind == "stack")
    assert len(stack.parts) == 12
    source = viz.draw(net(12)[0], depth=1).source
    assert "Block × 12" in source
    assert source.count('id="s-m') == 12


def test_a_layer_and_the_activation_behind_it_repeat_together() -> None:
    x = Tensor(X, requires_grad=True)
    layers = nn.Sequential(*(layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.ReLU())), nn.Linear(4, 1))
    source = viz.draw(layers(x).sum(), depth=1).source
    assert "(Linear(4 → 4) + ReLU) × 5" in source


def test_modules_side_by_side_are_no_stack() -> None:
    x = Tensor(X, requires_grad=True)
    heads = nn.ModuleList(nn.Linear(4, 4) for _ in range(5))

    class Heads(nn.Module):
        def __init__(self) -> None:
            self.heads = heads

        def forward(self, x: Tensor) -> Tensor:
            return te.concatenate([head(x) for head in self.heads])

    view = view_of(Heads()(x).sum(), depth=1)
    assert [node.kind for node in view.folds] == ["module"] * 5


def test_calls_of_one_module_in_a_loop_are_a_stack() -> None:
    cell, x = nn.Linear(4, 4), Tensor(X, requires_grad=True)
    for _ in range(7):
        x = cell(x)
    loss = x.sum()
    loss.backward()
    view = view_of(loss, depth=0)
    assert [len(node.parts) for node in view.folds] == [7]
    assert [leaf.tensor for leaf in view.folds[0].parameters] == [cell.weight, cell.bias]


def test_a_part_that_two_modules_share_makes_no_circle() -> None:
    shared = nn.Linear(4, 4)

    class Outer(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.tanh()).tanh()

    model, x = nn.Sequential(Outer(shared), Outer(shared)), Tensor(X, requires_grad=True)
    first, second = model[0], model[1]
    y = (first(x) + second(first(x))) * first(x)
    for options in ({"depth": 0}, {"depth": 1}, {"budget": 5}, {"budget": 1}):
        assert is_drawn_downwards(view_of(y, **options))
    assert is_drawn_downwards(view_of((model(x) + shared(x)).sum(), depth=1))


def test_a_chain_without_modules_keeps_its_ends() -> None:
    y = chain(3000)
    view = view_of(y)
    assert 55 <= len(view.nodes) <= 60
    (run,) = view.folds
    assert len(run.cards) + len(view.nodes) - 2 == 3000  # but for x and the run itself
    source = viz.draw(y).source
    assert f"… {len(run.cards)} ops" in source
    assert f"{len(run.cards)} multiply" in source
    assert f"{len(run.cards)} of 3000 ops are folded into one card" in source
    arriving, leaving = norms(run, view)
    assert np.isclose(leaving / arriving, 0.999 ** len(run.cards), rtol=1e-3)


@pytest.mark.parametrize("uses", [1000])
def test_a_tensor_used_very_often(uses: int) -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    y = x * 1.0
    for factor in range(1, uses):
        y = y + x * float(factor % 3)
    y.backward()
    view = view_of(y)
    assert len(view.nodes) <= 60
    (run,) = view.folds
    (into,) = (link for link in view.inputs[run.id] if link.source is view.trace.cards[0])
    assert float(into.contribution) == sum(float(edge.contribution) for edge in into.edges)
    assert len(into.edges) > 900


def test_the_deepest_are_folded_first_and_the_title_says_so() -> None:
    loss, _ = net(5)
    view = view_of(loss, budget=40)
    assert names(view) == [f"▸ blocks.{n}.{part}" for n in range(5) for part in ("norm", "mlp")]
    assert "20 of 29 ops are folded into 10 cards" in viz.draw(loss, budget=40).source


@pytest.mark.parametrize("options", [{"depth": 1}, {"budget": 25}, {"budget": 8}, {"depth": 1, "expand": ["blocks.2"]}])
def test_nothing_is_lost(options: dict[str, object]) -> None:
    view = view_of(net(6)[0], **options)
    assert set(view.shown) == set(view.trace.cards)
    assert is_drawn_downwards(view)
    inside = {edge for edge in view.trace.edges if view.shown[edge.source] is view.shown[edge.target]}
    drawn = [edge for link in view.links for edge in link.edges]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) | inside == set(view.trace.edges)
    last = max(card.step for card in view.trace.cards if card.step is not None)
    assert sorted(view.steps()) == list(range(1, last + 1))


def test_the_numbers_of_a_folded_module_are_the_engines() -> None:
    loss, model = net(4)
    totals: dict[Tensor, np.ndarray] = {}
    steps = list(te.sweep(loss, gradients=totals))
    texts, _ = parse(viz.draw(loss, names={"net": model}, depth=1).source)
    view = fold(gather(loss, {"net": model}), depth=1)
    for node in view.folds:
        inside = {card.tensor for card in node.cards}
        arriving = {s.output: s.upstream for s in steps if s.output in inside and not _used_within(s.output, inside)}
        leaving: dict[Tensor, np.ndarray] = {}
        for s in steps:
            if s.output in inside and s.input not in inside and not isinstance(s.input, Parameter):
                leaving[s.input] = leaving.get(s.input, 0) + s.contribution
        before, after = (np.sqrt(sum(norm(a) ** 2 for a in d.values())) for d in (arriving, leaving))
        shown = f"gradient norm {number(before)} → {number(after)}  (×{number(after / before)})"
        assert texts[f"g-{node.id}"] == shown
        assert np.isclose(value_of(texts[f"v-{node.id}"].split()[-1]), norm(node.cards[-1].value), rtol=1e-3)
    (weight,) = (leaf for leaf in view.folds[0].parameters if leaf.name == "net.embed.weight")
    assert texts[f"p-{weight.id}"] == f"weight (4, 4)   gradient norm {number(norm(model.embed.weight.grad.data))}"


def _used_within(tensor: Tensor, inside: set[Tensor]) -> bool:
    return any(tensor is source for other in inside for source in other.inputs)


def test_the_strip_of_a_stack_has_the_norm_of_each_module() -> None:
    loss, _ = net(4)
    _, hints = parse(viz.draw(loss, depth=1).source)
    gradients = {s.output: s.upstream for s in te.sweep(loss)}
    outputs = [t for t in gradients if t.op.name == "add" and t.scope is not None and t.scope.label == "Block"]
    shown = [hint for identity, hint in hints.items() if identity.startswith("s-m")]
    ordered = sorted(outputs, key=lambda t: t.time)
    assert shown == [f"blocks.{n}: gradient norm {number(norm(gradients[t]))}" for n, t in enumerate(ordered)]


def test_what_is_folded_away_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[int] = []
    original = formulas.print_rule
    monkeypatch.setattr(formulas, "print_rule", lambda *a: printed.append(1) or original(*a))
    viz.draw(net(12)[0], depth=1)
    assert len(printed) == 2  # the power and the mean


def test_inputs_stay_in_sight_and_inner_constants_do_not() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.exp()
            return te.where(Tensor(X > 0, name="mask"), y, 0.0)

    x = Tensor(X, requires_grad=True, name="x")
    view = view_of(Masked()(x).sum(), depth=0)
    seen = {node.name for node in view.nodes if isinstance(node, Card)}
    assert "x" in seen
    assert "mask" not in seen


def test_the_highlighted_tensor_is_never_folded_away() -> None:
    loss, model = net(12)
    drawing = viz.draw(loss, names={"net": model}, highlight=model.blocks[5].norm.weight)
    assert "▾ net.blocks.5" in drawing.source
    assert "penwidth=3" in drawing.source


def test_before_backward_a_folded_module_says_not_run() -> None:
    model = Net(3)
    loss = model(Tensor(X)).sum()
    texts, _ = parse(viz.draw(loss, depth=1).source)
    assert {text for name, text in texts.items() if name.startswith("g-m")} == {"gradient: not run"}


def test_a_model_that_is_the_root_is_one_card_with_the_seed() -> None:
    model = nn.Sequential(nn.Linear(4, 1))
    y = model(Tensor(X[:1]))
    y.backward()
    (node,) = view_of(y, depth=0).folds
    assert node.outputs[-1].tensor is y
    source = viz.draw(y, depth=0).source
    assert "▸ Sequential" in source
    assert "backward starts here" in source
