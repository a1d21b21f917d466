"""Ctrl-C, at any bytecode at all, leaves model and optimizer as they were before the step or as they are after it."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tinygrad_edu import Tensor, nn, optim
from tinygrad_edu.interrupts import uninterrupted


@pytest.fixture(autouse=True)
def _ctrl_c_raises() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupted_at(place: int, run: Callable[[], Any]) -> bool:
    """Press Ctrl-C before the bytecode of this number that `run` executes; False if it executes fewer."""
    count = itertools.count()
    pressed = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal pressed
        frame.f_trace_opcodes = True
        if event == "opcode" and not pressed and next(count) == place:
            pressed = True
            signal.raise_signal(signal.SIGINT)
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        assert pressed
    finally:
        sys.settrace(outer)
    return pressed


def trained(kind: str, **settings: Any) -> tuple[nn.Module, optim.Optimizer]:
    """A model before its second step, so that the optimizer remembers something."""
    rng = np.random.default_rng(0)
    model = nn.Linear(2, 2)
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    optimizer = getattr(optim, kind)(model.parameters(), **settings)
    for number in range(2):
        optimizer.zero_grad()
        (model(Tensor([[1.0, 2.0]])) ** 2).sum().backward()
        if not number:
            optimizer.step()
    return model, optimizer


def state(model: nn.Module, optimizer: optim.Optimizer) -> list[Any]:
    arrays = [*model.state_dict().values(), *(a for s in optimizer.state for a in s.values())]
    return [optimizer.steps, *(array.tolist() for array in arrays)]


@pytest.mark.parametrize(
    ("kind", "settings"), [("SGD", {"lr": 0.1, "momentum": 0.9}), ("AdamW", {"weight_decay": 0.1})]
)
def test_at_every_bytecode_of_a_step_all_or_nothing_is_stepped(kind: str, settings: dict[str, Any]) -> None:
    before = state(*trained(kind, **settings))
    model, optimizer = trained(kind, **settings)
    optimizer.step()
    after, found = state(model, optimizer), set()
    for place in itertools.count(0, 7):  # prime to the length of most loops: over all runs, all kinds of places
        model, optimizer = trained(kind, **settings)
        if not interrupted_at(place, optimizer.step):
            break
        now = state(model, optimizer)
        assert now in (before, after), place
        found.add(now == after)
    assert found == {True, False}
    assert place > 300


def test_loading_is_whole_or_not_at_all() -> None:
    model, optimizer = trained("AdamW")
    other, theirs = trained("AdamW", lr=0.5)
    theirs.step()
    before, after = state(model, optimizer), state(other, theirs)

    def load() -> None:
        model.load_state_dict(other.state_dict())
        optimizer.load_state_dict(theirs.state_dict())

    for place in range(0, 4000, 61):
        model, optimizer = trained("AdamW")
        if not interrupted_at(place, load):
            break
        now = state(model, optimizer)
        assert now[1:3] in (before[1:3], after[1:3])  # the model
        assert (now[0], now[3:]) in ((before[0], before[3:]), (after[0], after[3:]))  # the optimizer
    assert place > 1000


def test_what_comes_within_has_its_effect_after() -> None:
    done = []

    def run() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == [1]


def test_the_second_one_does_not_wait() -> None:
    done = []

    def run() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not done


def test_an_error_within_is_not_lost_and_nested_blocks_wait_for_the_outer_one() -> None:
    done = []

    def run() -> None:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            done.append(1)
            raise ValueError("mine")

    with pytest.raises(KeyboardInterrupt) as error:
        run()
    assert done == [1]
    assert isinstance(error.value.__context__, ValueError)


def test_handlers_of_ones_own_are_called_once_and_ignored_signals_stay_ignored() -> None:
    calls: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
        assert not calls
    assert calls == [signal.SIGINT]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_step_without_touching_signals() -> None:
    model, optimizer = trained("SGD")
    before = state(model, optimizer)
    thread = threading.Thread(target=optimizer.step)
    thread.start()
    thread.join()
    assert state(model, optimizer) != before


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as POSIX does")
def test_a_real_ctrl_c_at_any_time_leaves_all_parameters_equally_often_stepped() -> None:
    """Every parameter begins at 0 and has gradient -1, so each is the number of steps times the learning rate."""
    code = """
import numpy as np
from tinygrad_edu import nn, optim, Tensor
ps = [nn.Parameter(np.zeros(50)) for _ in range(20)]
for p in ps:
    p.grad = Tensor(np.full(50, -1.0))
optimizer = optim.SGD(ps, lr=1.0)
print("ready", flush=True)
try:
    while True:
        optimizer.step()
except KeyboardInterrupt:
    print(len({float(x) for p in ps for x in p.data}), ps[0].data[0] == optimizer.steps > 0)
"""
    for delay in (0.01, 0.0237):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "1 True\n"
