"""te.lock_arrays: writes into the raw arrays of a graph raise where they happen, and nothing else changes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tinygrad_edu import GraphError, Tensor, nn, optim


def leaf(*values: float) -> Tensor:
    return Tensor([float(value) for value in values], requires_grad=True)


def write(array: np.ndarray) -> None:
    array[...] = 5


WRITES: dict[str, Callable[[Tensor, Tensor, np.ndarray, Tensor], Any]] = {
    "input": lambda x, y, c, total: write(x.data),
    "output": lambda x, y, c, total: write(y.data),
    "constant": lambda x, y, c, total: write(c),
    "scalar output": lambda x, y, c, total: write(total.data),
    "view of an input": lambda x, y, c, total: write(x.data[1:]),
    "numpy()": lambda x, y, c, total: write(x.numpy()),
    "asarray": lambda x, y, c, total: write(np.asarray(x)),
    "in-place operator": lambda x, y, c, total: np.add(x.data, 1, out=x.data),
    "detached": lambda x, y, c, total: write(x.detach().data),
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_raises_at_its_line(kind: str) -> None:
    x, c = leaf(1, 2, 3), np.array([4.0, 5.0, 6.0], np.float32)
    with te.lock_arrays():
        y = x * c
        total = y.sum()
        with pytest.raises(ValueError, match="read-only"):
            WRITES[kind](x, y, c, total)
        total.backward()
    np.testing.assert_array_equal(x.grad.data, [4, 5, 6])


def test_where_it_leaves_the_block_it_says_what_to_do() -> None:
    x = leaf(1, 2)
    kept = []

    def wrong() -> None:
        with te.lock_arrays():
            kept.append(x * x)
            x.data[0] = 5.0

    with pytest.raises(GraphError, match=r"array of a graph was written to.*te\.where or te\.concatenate") as error:
        wrong()
    assert isinstance(error.value.__cause__, ValueError)
    assert x.tolist() == [1, 2]
    x.data[0] = 5.0  # the block has ended


def test_assignment_through_a_detached_tensor_is_refused_too() -> None:
    x = leaf(1, 2)
    with te.lock_arrays():
        y = x * x
        with pytest.raises(GraphError, match=r"te\.lock_arrays"):
            x.detach()[0] = 5.0
        del y
        x.detach()[0] = 5.0
    assert x.tolist() == [5, 2]


def test_arrays_are_free_when_the_graph_dies() -> None:
    x, c = leaf(1, 2), np.ones(2, np.float32)
    with te.lock_arrays() as locks:
        y, z = x * c, x.reshape(2, 1) + 1
        del y
        assert c.flags.writeable
        assert not x.data.flags.writeable  # z is alive
        del z
        assert x.data.flags.writeable
        assert not locks._locks


def test_arrays_are_free_when_the_block_ends_views_and_all() -> None:
    base = np.arange(6.0)
    x = Tensor.wrap(base.reshape(2, 3)).requires_grad_()
    with te.lock_arrays():
        y = x.T
        z = y.reshape(6) * 2
        assert not base.flags.writeable  # whoever else holds the memory
        with pytest.raises(ValueError, match="read-only"):
            base[0] = 1
    for array in (base, x.data, y.data, z.data):
        array[...] = 7
    assert (x.tolist(), y.tolist()) == ([[7] * 3] * 2, [[7] * 2] * 3)


def test_what_was_read_only_stays_so_and_what_is_not_recorded_is_left_alone() -> None:
    fixed = np.ones(2, np.float32)
    fixed.flags.writeable = False
    plain = Tensor([1.0, 2.0])
    with te.lock_arrays():
        y = leaf(1, 2) * fixed
        z = plain * 2
        plain.data[0] = z.data[0] = 5.0
        with te.no_grad():
            w = leaf(1, 2)
            v = w * 2
        w.data[0] = v.data[0] = 5.0
    assert not fixed.flags.writeable
    del y


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_training_is_what_it_is_without(kind: Any) -> None:
    def trained(watched: Any) -> list[Any]:
        te.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Dropout(0.2), nn.Linear(4, 2))
        optimizer = kind(model.parameters(), lr=0.1)
        x = np.arange(15, dtype=np.float32).reshape(5, 3) / 15
        with watched:
            for _ in range(5):
                loss = F.cross_entropy(model(x), np.arange(5) % 2)  # the loss before is alive until here
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.load_state_dict(model.state_dict())
            nn.init.zeros_(model[0].bias)
        return [value.tolist() for value in model.state_dict().values()]

    assert trained(te.lock_arrays()) == trained(te.enable_grad())


def test_a_stale_graph_is_still_an_error_at_backward() -> None:
    w = nn.Parameter([1.0, 2.0])
    with te.lock_arrays():
        loss = (w * w).sum()
        loss.backward()
        optim.SGD([w], lr=0.1).step()
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()
