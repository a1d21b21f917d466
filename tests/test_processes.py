"""Threads and processes: each records by itself, sums into shared gradients lose nothing, children of a fork work."""

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tinygrad_edu import Tensor, nn, optim


@pytest.fixture(autouse=True)
def _switch_often() -> Any:
    """Threads take turns as often as they can, so that what can go wrong does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any], number: int = 4) -> list[Any]:
    """The results of work(0), work(1), ... in threads that begin together."""
    together, results = threading.Barrier(number, timeout=30), [None] * number

    def run(i: int) -> None:
        together.wait()
        results[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def trained(seed: int, steps: int = 20) -> list[Any]:
    """The weights of a small network, trained on its own."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    optimizer = optim.AdamW(model.parameters())
    for _ in range(steps):
        x, y = rng.normal(size=(5, 3)).astype(np.float32), rng.integers(2, size=5)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return [value.tolist() for value in model.state_dict().values()]


def test_networks_that_are_trained_at_once_are_those_trained_alone() -> None:
    assert at_once(trained) == [trained(seed) for seed in range(4)]


def test_gradients_from_all_threads_add_up_in_a_shared_parameter() -> None:
    w, times = nn.Parameter(np.zeros(3)), 300

    def work(i: int) -> None:
        for _ in range(times):
            (w * np.full(3, 10.0**i)).sum().backward()

    at_once(work)
    assert w.grad.tolist() == [times * 1111.0] * 3


def test_graphs_that_share_their_beginning_are_differentiated_at_once() -> None:
    w = nn.Parameter([2.0, 3.0])
    shared = (w * w).exp()
    found = at_once(lambda i: [te.grad((shared * (i + 1.0)).sum(), [w])[0].tolist() for _ in range(50)])
    slope = (2 * w.data * np.exp(w.data**2)).tolist()
    np.testing.assert_allclose(found, [[[(i + 1) * each for each in slope]] * 50 for i in range(4)], rtol=1e-5)


def test_changes_in_one_thread_are_noticed_by_backward_in_it_whatever_the_others_do() -> None:
    def work(i: int) -> int:
        noticed = 0
        for _ in range(100):
            w = nn.Parameter([1.0, 2.0])
            loss = (w * w).sum()
            nn.init.zeros_(w)
            try:
                loss.backward()
            except te.GraphError:
                noticed += 1
        return noticed

    assert at_once(work) == [100] * 4


def test_no_grad_in_some_threads_is_none_of_the_others() -> None:
    w = nn.Parameter(2.0)

    def work(i: int) -> set[bool]:
        seen = set()
        for _ in range(200):
            if i % 2:
                with te.no_grad():
                    seen.add((w * 2).requires_grad)
            else:
                seen.add((w * 2).requires_grad)
        return seen

    assert at_once(work) == [{True}, {False}] * 2


def test_what_is_thrown_into_a_decorated_generator_arrives_and_what_it_cleans_up_is_not_recorded() -> None:
    w, seen = nn.Parameter(2.0), []

    @te.no_grad
    def values() -> Any:
        while True:
            try:
                seen.append((yield (w * 2).requires_grad))
            except KeyError:
                seen.append("thrown")
            finally:
                seen.append((w * 3).requires_grad)

    generator = values()
    assert next(generator) is False
    assert generator.send("sent") is False
    assert generator.throw(KeyError) is False
    generator.close()
    gc.collect()
    assert seen == ["sent", False, "thrown", False, False]
    assert (w * 2).requires_grad


def test_blocks_that_generators_close_out_of_order_leave_the_others_as_they_are() -> None:
    w = nn.Parameter(2.0)

    def waiting() -> Any:
        with te.no_grad():
            yield

    first = waiting()
    next(first)
    assert not (w * 2).requires_grad  # as inside a context manager that is written as a generator
    with te.enable_grad():
        first.close()
        assert (w * 2).requires_grad
    assert (w * 2).requires_grad
    second = waiting()
    at_once(lambda i: next(second), 1)
    second.close()  # in another thread than it was begun in: nothing is open here
    assert (w * 2).requires_grad


def big(_: int = 0) -> float:
    """Kernels on arrays so big that threads share them."""
    x = Tensor(np.linspace(-3, 3, 400_000, dtype=np.float32), requires_grad=True)
    F.gelu(x).sum().backward()
    return float(x.grad.data.sum())


METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # from Python 3.12 on: the test's point
@pytest.mark.parametrize("method", METHODS)
def test_children_compute_what_their_parent_does(method: str) -> None:
    before = te.get_num_threads()
    te.set_num_threads(2)
    try:
        expected = trained(0), big()  # the parent has started threads by now
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply_async(trained, (0,)).get(timeout=60) == expected[0]
            assert pool.apply_async(big).get(timeout=60) == expected[1]
    finally:
        te.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_other_threads_differentiate_leaves_no_lock_behind() -> None:
    w, done = nn.Parameter(np.zeros(3)), threading.Event()

    def work() -> None:
        while not done.is_set():
            (w * 2.0).sum().backward()

    thread = threading.Thread(target=work)
    thread.start()
    context = multiprocessing.get_context("fork")
    try:
        for _ in range(5):
            child = context.Process(target=trained, args=(0, 2))
            child.start()
            child.join(timeout=60)
            assert child.exitcode == 0
    finally:
        done.set()
        thread.join()
