"""Long runs: memory that stays flat, chains and stacks that are deep, and nothing at all where a size is 0."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import MLP, Transformer, TransformerConfig
from models.command import UserError
from tinygrad_edu import Tensor, nn, optim

ROOT = Path(__file__).parent.parent

SOAK = """
import gc, sys, tracemalloc
import numpy as np
import tinygrad_edu as te, tinygrad_edu.functional as F
from tinygrad_edu import nn, optim

tracemalloc.start()
gc.disable()  # nothing may wait for it: whatever a look finds below is a cycle
rng = np.random.default_rng(0)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
optimizer = optim.AdamW(model.parameters())
schedule = optim.CosineLR(optimizer, total_steps=10_000, warmup_steps=100)
X, y = rng.normal(size=(16, 4)).astype(np.float32), rng.integers(3, size=16)
for step in range(1, 10_001):
    loss = F.cross_entropy(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 2000 == 0:
        print(gc.collect(), sys.getallocatedblocks(), *tracemalloc.get_traced_memory())  # collect() empties free lists
"""


def test_memory_is_flat_over_10_000_steps() -> None:
    done = subprocess.run([sys.executable, "-c", SOAK], cwd=ROOT, capture_output=True, text=True, check=True)
    measured = [[int(number) for number in line.split()] for line in done.stdout.splitlines()]
    assert len(measured) == 5
    assert not any(cycles for cycles, *_ in measured[1:]), measured
    (_, blocks, size, peak), (_, last_blocks, last_size, last_peak) = measured[1], measured[-1]
    assert last_blocks - blocks < 80, measured  # objects: one in a hundred steps would be a leak
    assert last_size - size < 2**15, measured  # bytes: 6 a step would be one
    assert last_peak - peak < 2**17, measured


def test_a_chain_of_1_000_000_ops_runs_both_ways_and_is_deleted() -> None:
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 1e-6
    y.backward()
    assert x.grad.item() == 1
    before = sys.getallocatedblocks()
    del y
    assert sys.getallocatedblocks() < before - 1_000_000


def test_an_mlp_of_2_000_layers_is_trained_shown_copied_and_saved(tmp_path: Path) -> None:
    model = MLP([4] * 2001, "tanh")
    for parameter in model.parameters():  # identities, so that something arrives at the end
        parameter.data[...] = np.eye(4) if parameter.ndim == 2 else 0
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    x = Tensor(np.full((2, 4), 0.1, np.float32))
    y = model(x)
    assert y.module == "layers.3998"
    (y**2).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert np.abs(model.layers[0].weight.grad.data).max() > 0
    optimizer.step()
    assert repr(model).count("\n") == 1 + 3999
    other = copy.deepcopy(model)
    model.save(tmp_path / "deep.safetensors")
    assert other.load(tmp_path / "deep.safetensors") == ([], [])
    np.testing.assert_array_equal(other(x).data, model(x).data)


# Size 0 --------------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "Linear, no batch": (lambda: nn.Linear(3, 2), (0, 3), (0, 2)),
    "Linear, no input": (lambda: nn.Linear(0, 2), (4, 0), (4, 2)),
    "Linear, no output": (lambda: nn.Linear(3, 0), (4, 3), (4, 0)),
    "LayerNorm, no batch": (lambda: nn.LayerNorm(3), (0, 3), (0, 3)),
    "Softmax, no batch": (nn.Softmax, (0, 3), (0, 3)),
    "GELU": (nn.GELU, (0, 3), (0, 3)),
    "Dropout": (lambda: nn.Dropout(0.5), (2, 0), (2, 0)),
    "attention, no batch": (lambda: nn.MultiHeadAttention(8, 2), (0, 5, 8), (0, 5, 8)),
    "attention, no tokens": (lambda: nn.MultiHeadAttention(8, 2), (2, 0, 8), (2, 0, 8)),
    "MLP, no batch": (lambda: MLP([3, 4, 2]), (0, 3), (0, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_modules_of_nothing(name: str, tmp_path: Path) -> None:
    make, given, expected = LAYERS[name]
    model = make()
    x = Tensor(np.ones(given, np.float32), requires_grad=True)
    y = model(x)
    assert y.shape == expected
    y.sum().backward()
    assert x.grad.shape == given
    parameters = list(model.parameters())
    assert all(p.grad.shape == p.shape and np.isfinite(p.grad.data).all() for p in parameters)
    if parameters:
        before = model.state_dict()
        assert np.isfinite(optim.clip_grad_norm_(parameters, 1.0))
        for kind in (optim.SGD, optim.AdamW):
            kind(parameters, lr=0.0).step()
        model.save(tmp_path / "nothing.safetensors")
        model.load(tmp_path / "nothing.safetensors")
        for key, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[key])


def test_embedding_and_transformer_of_no_text() -> None:
    weight = nn.Embedding(5, 3)
    ids = np.zeros((2, 0), int)
    assert weight(ids).shape == (2, 0, 3)
    weight(ids).sum().backward()
    assert not weight.weight.grad.data.any()
    model = Transformer(TransformerConfig(vocab_size=5, context_length=4, embed_dim=8, num_heads=2, num_layers=1))
    assert model(np.zeros((0, 3), int)).shape == (0, 3, 5)
    for no_tokens in (np.zeros((2, 0), int), np.zeros(0, int)):
        with pytest.raises(UserError, match="there are no tokens; begin with at least one"):
            model(no_tokens)


def test_losses_of_nothing_are_not_a_number_and_their_gradients_zero() -> None:
    logits = Tensor(np.zeros((0, 3)), requires_grad=True)
    with np.errstate(all="ignore"):
        loss = F.cross_entropy(logits, np.zeros(0, int))
        loss.backward()
    assert np.isnan(loss.item())
    assert logits.grad.shape == (0, 3)
    assert list(te.data.batches(np.zeros((0, 3)), np.zeros(0))) == []
