"""Big arrays in blocks, on several threads: the same numbers, the same errors, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.samples import real
from tinygrad_edu import Tensor
from tinygrad_edu.ops import blocks


@pytest.fixture(autouse=True)
def the_number_of_threads_afterwards() -> Iterator[None]:
    before = te.get_num_threads()
    yield
    te.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 100)
    monkeypatch.setattr(blocks, "SHARE", 1)


def increase(x: Any, y: Any, nothing: Any = None) -> None:
    assert nothing is None
    y += x + 1


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(("shape", "axis"), [((1000,), 0), ((7, 50), 0), ((7, 50), 1), ((3, 1, 500), 0), ((0, 4), 0)])
def test_every_element_is_visited_once(small_blocks: None, number: int, shape: tuple[int, ...], axis: int) -> None:
    te.set_num_threads(number)
    x, y = real(*shape), np.zeros(shape)
    blocks.walk(increase, x, y, None, axis=axis)
    np.testing.assert_array_equal(y, x + 1)


def test_arrays_may_differ_in_their_other_axes(small_blocks: None) -> None:
    x, y = real(60, 30), np.zeros((60, 1))
    blocks.walk(lambda x, y: np.sum(x, axis=1, keepdims=True, out=y), x, y)
    np.testing.assert_array_equal(y[:, 0], np.sum(x, axis=1))


CALLS = {
    "gelu": lambda x: F.gelu(x),
    "gelu_tanh": lambda x: F.gelu(x, "tanh"),
    "softmax": lambda x: F.softmax(x, axis=1),
    "layer_norm": lambda x: F.layer_norm(x, x[0, 0] * 1.0, x[0, 1] * 1.0),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1, is_causal=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_threads_and_blocks_do_not_change_a_bit(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[Any, Any]:
        x = Tensor(real(12, 20, 16).astype(np.float32), requires_grad=True)
        y = call(x)
        return y.data, te.grad(y, [x], real(12, 20, 16, seed=1))[0].data

    te.set_num_threads(1)
    whole = run()
    monkeypatch.setattr(blocks, "BLOCK", 500)
    monkeypatch.setattr(blocks, "SHARE", 1)
    alone = run()
    te.set_num_threads(4)
    for _ in range(3):
        for a, b in zip(alone, run(), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(alone, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_an_error_in_a_block_reaches_the_caller_and_the_next_walk_works(small_blocks: None) -> None:
    def refuse(x: Any, y: Any) -> None:
        raise ValueError("this block")

    te.set_num_threads(3)
    x, y = real(1000), np.zeros(1000)
    with pytest.raises(ValueError, match="this block"):
        blocks.walk(refuse, x, y)
    blocks.walk(increase, x, y)
    np.testing.assert_array_equal(y, x + 1)


def test_how_numpy_treats_errors_holds_in_every_thread(small_blocks: None) -> None:
    te.set_num_threads(3)
    x, y = np.zeros(5000), np.zeros(5000)
    with np.errstate(divide="ignore"):
        blocks.walk(lambda x, y: np.divide(1, x, out=y), x, y)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        blocks.walk(lambda x, y: np.divide(1, x, out=y), x, y)


def test_more_threads_than_one_share_the_blocks(small_blocks: None) -> None:
    te.set_num_threads(2)
    both, seen = threading.Barrier(2, timeout=10), set()

    def meet(x: Any) -> None:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            both.wait()  # passes only when two threads are here at once

    blocks.walk(meet, real(1000))
    assert len(seen) == 2


def test_few_blocks_stay_on_one_thread(small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    te.set_num_threads(2)
    monkeypatch.setattr(blocks, "SHARE", 6)
    seen: set[int] = set()
    blocks.walk(lambda x: seen.add(threading.get_ident()), real(1000))
    assert seen == {threading.get_ident()}


def test_one_thread_starts_no_other(small_blocks: None) -> None:
    te.set_num_threads(1)
    seen: set[int] = set()
    blocks.walk(lambda x: seen.add(threading.get_ident()), real(1000))
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None])
def test_the_number_of_threads_is_checked(number: Any) -> None:
    with pytest.raises(ValueError, match=r"set_num_threads: expected a whole number from 1, got"):
        te.set_num_threads(number)


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def test_the_environment_sets_the_number_and_importing_starts_none() -> None:
    code = "import threading, tinygrad_edu as te; print(te.get_num_threads(), threading.active_count())"
    assert run_python(code, OMP_NUM_THREADS="3") == "3 1"


def test_a_thread_that_outlives_the_main_one_goes_on_alone() -> None:
    code = """
import threading, numpy as np, tinygrad_edu as te, tinygrad_edu.functional as F
te.set_num_threads(3)
def late():
    threading.main_thread().join()
    print(F.softmax(te.Tensor(np.zeros((1000, 512))), axis=1).sum().item())
threading.Thread(target=late).start()
"""
    assert run_python(code) == "1000.0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    code = """
import os, numpy as np, tinygrad_edu as te, tinygrad_edu.functional as F
te.set_num_threads(2)
x = np.ones(300_000, np.float32)
F.gelu(x)
child = os.fork()
y = F.gelu(x)
if not child:
    os._exit(7 if y.data.sum() > 0 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code) == "7"
