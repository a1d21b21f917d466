"""Graphs far too large to be drawn op by op: what is drawn of them is small, and can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu.functional as F
import viz
from models import MLP, Transformer, TransformerConfig
from tests.browser.boxes import faint_texts, overlapping_cards, overlapping_texts, texts_cut_off, texts_outside
from tinygrad_edu import Tensor

Drawn = tuple[Tensor, dict[str, Any]]


def gpt() -> Drawn:
    """Twelve blocks, as GPT-2 has them, with its twelve heads; only narrower, which changes no card."""
    sizes = {"vocab_size": 40, "context_length": 16, "embed_dim": 24, "num_heads": 12, "num_layers": 12}
    model = Transformer(TransformerConfig(**sizes, tie_weights=True, activation="gelu_tanh"))
    ids = np.arange(16)[None] % 40
    return F.cross_entropy(model(ids), (ids + 1) % 40, axis=-1), {"names": {"gpt": model}}


def gpt_with_one_block_open() -> Drawn:
    """The same; what is in one block is seen."""
    loss, options = gpt()
    return loss, options | {"expand": ["gpt.blocks.3"]}


def mlp() -> Drawn:
    """200 layers."""
    model = MLP([8] * 200 + [3])
    return F.cross_entropy(model(Tensor(np.ones((4, 8), np.float32))), np.arange(4) % 3), {"names": {"mlp": model}}


def chain() -> Drawn:
    """3 000 ops without modules."""
    y = Tensor(1.0, requires_grad=True, name="x")
    for _ in range(1500):
        y = y.sin() * 1.01
    return y, {}


def fan() -> Drawn:
    """One tensor that is used 1 000 times."""
    x = Tensor(np.linspace(0, 1, 12), requires_grad=True, name="x")
    y = x * 1.0
    for factor in range(999):
        y = y + x * float(factor % 7)
    return y.sum(), {}


@pytest.mark.parametrize("make", [gpt, gpt_with_one_block_open, mlp, chain, fan])
def test_a_large_graph_can_be_read(make: Callable[[], Drawn], visit: Callable[..., Any], tmp_path: Path) -> None:
    root, options = make()
    root.backward()
    drawing = viz.draw(root, **options)
    page = visit(drawing.save(tmp_path / "large.svg"))
    assert len(drawing.view.nodes) <= 60
    assert "folded into" in drawing.svg
    assert len(drawing.svg) < 1_000_000
    assert texts_outside(page) == []
    assert overlapping_cards(page) == []
    assert texts_cut_off(page) == []
    assert overlapping_texts(page) == []
    assert faint_texts(page) == []
