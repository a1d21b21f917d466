"""The graphs of the demonstrations; without a layout engine, their sources."""

from pathlib import Path

import numpy as np
import pytest

import viz
from models import graphs
from models.transformer import Block, TransformerConfig

pytest.importorskip("graphviz")


def small_block() -> tuple[Block, np.ndarray]:
    config = TransformerConfig(vocab_size=1, context_length=4, embed_dim=8, num_heads=2, num_layers=1, bias=False)
    return Block(config), np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


def test_block_has_a_box_for_each_module_and_gradients(tmp_path: Path) -> None:
    path = graphs.block_backward(tmp_path / "block.dot", *small_block())
    source = path.read_text(encoding="utf-8")
    for name in ("block.attention", "block.attention.query", "block.mlp", "block.mlp.down", "block.attention_norm"):
        assert name in source
    assert source.count("subgraph") >= 8
    assert "not run" not in source


def test_block_without_a_layout_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*anything: object) -> None:
        raise viz.MissingEngineError("no layout engine")

    monkeypatch.setattr("viz.drawing.render", missing)
    assert graphs.block_backward(tmp_path / "block.svg", *small_block()) == tmp_path / "block.dot"
    assert "writing the DOT source instead" in capsys.readouterr().err
