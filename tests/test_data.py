"""Mini-batches: every sample once, in the order that was asked for."""

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from tinygrad_edu import ShapeError, Tensor
from tinygrad_edu.data import batches

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


def order(**options: Any) -> list[int]:
    return [int(y) for (batch,) in batches(Y, **options) for y in batch]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 11])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_sample_comes_once_and_stays_with_its_label(batch_size: int, shuffle: bool) -> None:
    pieces = list(batches(X, Y, batch_size=batch_size, shuffle=shuffle))
    assert [len(y) for _, y in pieces[:-1]] == [batch_size] * (len(pieces) - 1)
    x, y = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    assert sorted(y.tolist()) == Y.tolist()
    np.testing.assert_array_equal(x, X[y])
    assert x.dtype == X.dtype


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 3, 3]), (5, [5, 5]), (10, [10]), (11, [])])
def test_drop_last_leaves_out_a_smaller_last_batch(batch_size: int, sizes: list[int]) -> None:
    pieces = [y.tolist() for (y,) in batches(Y, batch_size=batch_size, drop_last=True)]
    assert [len(y) for y in pieces] == sizes
    assert len({number for y in pieces for number in y}) == sum(sizes)


class TestOrder:
    def test_without_shuffle_it_is_kept(self) -> None:
        assert order(shuffle=False, batch_size=3) == list(range(10))

    def test_an_int_gives_the_same_order_each_time(self) -> None:
        assert order(seed=1) == order(seed=1)
        assert order(seed=1, batch_size=3) == order(seed=1)
        assert order(seed=1) != order(seed=2)
        assert order(seed=0) != list(range(10))

    def test_a_generator_goes_on(self) -> None:
        generator = np.random.default_rng(1)
        first, second = order(seed=generator), order(seed=generator)
        assert first != second
        assert first == order(seed=1)

    def test_by_default_manual_seed_decides(self) -> None:
        te.manual_seed(5)
        first, second = order(), order()
        assert first != second
        te.manual_seed(5)
        assert [order(), order()] == [first, second]

    def test_a_seed_leaves_the_other_random_numbers_alone(self) -> None:
        te.manual_seed(5)
        expected = te.nn.Linear(2, 2).weight.tolist()
        te.manual_seed(5)
        order(seed=1)
        assert te.nn.Linear(2, 2).weight.tolist() == expected


def test_any_number_of_arrays_lists_and_tensors() -> None:
    words = ["a", "b", "c"]
    ((x, y, z),) = batches(Tensor([1.0, 2.0, 3.0]), [4, 5, 6], words, shuffle=False)
    assert (x.tolist(), y.tolist(), z.tolist()) == ([1, 2, 3], [4, 5, 6], words)
    assert isinstance(x, np.ndarray)


def test_a_batch_is_a_copy() -> None:
    data = np.zeros(4)
    for (batch,) in batches(data, batch_size=2, shuffle=False):
        batch += 1
    assert data.tolist() == [0] * 4


def test_no_samples_give_no_batches() -> None:
    assert list(batches(np.empty((0, 3)))) == []


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((X, Y[:9]), {}, "the arrays differ in length: 10, 9"),
        ((), {}, "needs at least one array"),
        (([[1, 2], [3]],), {}, "the samples of an array differ in shape"),
        ((3.0,), {}, "each with an axis of samples"),
        (((i for i in range(3)),), {}, "each with an axis of samples"),
        ((Y,), {"batch_size": 0}, "batch_size must be a whole number, at least 1, got 0"),
        ((Y,), {"batch_size": 1.5}, "batch_size must be a whole number, at least 1, got 1.5"),
    ],
)
def test_refusals_come_at_the_call(arrays: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(*arrays, **options)  # not only when the first batch is drawn


def test_a_refusal_is_a_shape_error_where_shapes_are_wrong() -> None:
    with pytest.raises(ShapeError):
        batches(X, Y[:9])
