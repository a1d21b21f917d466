"""How the peers of a workload are measured: each in a process of its own, in turn, on equal terms.

A round gives each peer a block of steps, one peer after the other, so that whatever else the machine does falls on all
of them. Only one process works at a time. A ratio is the median, over the rounds, of a peer's time to the reference's
in the same round.
"""

from __future__ import annotations

import importlib.util
import math
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

from models.command import UserError, one_line
from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Workload

ROOT = Path(__file__).parents[2]
WARM_UP = 0.5  # seconds of steps before anything is timed
BLOCK = 0.075  # seconds that one block takes at least: a step of 50 microseconds is not timed alone
AWAKE = 0.01  # seconds of steps before it that are not timed: they fill the caches again
PATIENCE = 5  # seconds that a process gets to end
NEEDS = {  # what a peer imports
    OURS: "models",
    CAPTURED: "models",
    f"{OURS}, no cache": "models",
    REFERENCE: "torch",
    f"{REFERENCE}, no cache": "torch",
    "torch.compile": "torch",
    "MyGrad": "mygrad",
    "HIPS autograd": "autograd",
    "micrograd": "micrograd",
}
# Ctrl-C reaches all processes of a terminal. Those of the peers are left to the one that started them.
APART: dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if sys.platform == "win32" else {"start_new_session": True}
)


class DisagreementError(UserError):
    """Two peers computed different losses, so that they did not do the same work."""


class PeerError(UserError):
    """A peer failed, or its process died."""

    def __init__(self, peer: str, kind: str, message: str) -> None:
        super().__init__(f"{peer}: {kind}: {one_line(message)}")
        self.kind = kind


class Worker:
    """A peer in a process of its own, which works only while `ask` waits for it."""

    def __init__(self, workload: Workload, peer: str) -> None:
        self.name = f"{workload.name}: {peer}"
        command = [sys.executable, "-m", "tests.benchmarks.worker"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **APART)
        self.requests: Any = self.process.stdin
        self.answers: Any = self.process.stdout

    def __enter__(self) -> Worker:
        return self

    def ask(self, request: str, *arguments: Any) -> Any:
        """What this method of `worker.Peer` returns there; raises PeerError."""
        try:
            pickle.dump((request, arguments), self.requests)
            self.requests.flush()
            done, answer = pickle.load(self.answers)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.end()
            raise PeerError(self.name, "its process died", f"exit code {self.process.returncode}") from None
        if not done:
            raise PeerError(self.name, *answer)
        return answer

    def end(self) -> None:
        """Close the pipes, upon which the process ends by itself; kill it if it does not."""
        with suppress(OSError):  # what a dead process did not read
            self.requests.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()

    def __exit__(self, *error: object) -> None:
        self.end()


def installed(peer: str) -> bool:
    """Whether what the peer imports is there."""
    return peer not in NEEDS or importlib.util.find_spec(NEEDS[peer]) is not None


def available(workload: Workload, chosen: Iterable[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """The peers that can run here, and why the others are left out."""
    wanted = [name for name in workload.peers if chosen is None or name in chosen]
    missing = {name: f"{NEEDS[name]} is not installed" for name in wanted if not installed(name)}
    return [name for name in wanted if name not in missing], missing


def compare(workload: Workload, seconds: float, chosen: Iterable[str] | None = None) -> dict[str, Any]:
    """Times and memory of all peers; raises DisagreementError where losses differ, PeerError where a peer fails.

    `seconds`: how long to go on measuring.
    """
    problem = workload.problem(**workload.sizes)
    names, left_out = available(workload, chosen)
    losses: dict[str, list[float]] = {}
    workers: dict[str, Worker] = {}
    durations: dict[str, float] = {}
    with ExitStack() as running:  # ends all of them, whatever happens
        for name in names:
            worker = running.enter_context(Worker(workload, name))
            try:
                worker.ask("load", workload.peers[name], NEEDS.get(name))
                losses[name] = worker.ask("build", problem, 3)
                durations[name] = worker.ask("warm_up", WARM_UP)
                workers[name] = worker
            except PeerError as error:  # it needs a C++ compiler and more
                if name != "torch.compile":
                    raise
                left_out[name] = f"does not work here: {error.kind}"
        _check_losses(workload, losses)
        times = _in_turn(workers, durations, seconds)
        memory = {name: worker.ask("memory") for name, worker in workers.items()}
    return {"peers": _summary(workload, times, losses, memory), "left_out": left_out}


def _check_losses(workload: Workload, losses: Mapping[str, list[float]]) -> None:
    reference = REFERENCE if REFERENCE in losses else next(iter(losses), None)
    for name, values in losses.items():
        for number, (value, expected) in enumerate(zip(values, losses[reference], strict=True)):
            if not math.isclose(value, expected, rel_tol=workload.tolerance):
                raise DisagreementError(
                    f"{workload.name}: {name} computed {value} in step {number}, {reference} {expected}: "
                    "they do not do the same work"
                )


def _in_turn(
    workers: Mapping[str, Worker], durations: Mapping[str, float], seconds: float, least: int = 5
) -> dict[str, list[tuple[float, float]]]:
    """For each peer, the wall and CPU seconds of a step in each round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    start, rounds = time.perf_counter(), 0
    while workers and (rounds < least or time.perf_counter() - start < seconds):
        for name, worker in workers.items():
            untimed, timed = (math.ceil(part / durations[name]) for part in (AWAKE, BLOCK))
            times[name].append(worker.ask("block", untimed, timed))
        rounds += 1
    return times


def _summary(
    workload: Workload,
    times: Mapping[str, list[tuple[float, float]]],
    losses: Mapping[str, list[float]],
    memory: Mapping[str, dict[str, float]],
) -> dict[str, dict[str, Any]]:
    reference = times.get(REFERENCE)
    rows: dict[str, dict[str, Any]] = {}
    for name, blocks in times.items():
        row: dict[str, Any] = {"milliseconds": 1000 * median(wall for wall, _ in blocks), "loss": losses[name][-1]}
        row["fastest"] = 1000 * min(wall for wall, _ in blocks)
        if reference is not None:
            pairs = list(zip(blocks, reference, strict=True))
            row["ratio"] = median(wall / base for (wall, _), (base, _) in pairs)
            row["cpu_ratio"] = median(cpu / base for (_, cpu), (_, base) in pairs)
        if workload.work > 1:
            row[f"{workload.unit}s_per_second"] = 1000 * workload.work / row["milliseconds"]
        rows[name] = row | memory[name]
    return rows
