"""How the peers of a workload are measured: in turn, in one process, on equal terms; memory in a process of its own.

A round gives each peer a block of steps, one peer after the other, so that whatever else the machine does falls on all
of them. A ratio is the median, over the rounds, of a peer's time to the reference's in the same round.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.workload import REFERENCE, Step, Workload

ROOT = Path(__file__).parents[2]
BLOCK = 0.02  # seconds that one block takes at least: a step of 50 microseconds is not timed alone
NEEDS = {  # what a peer imports
    REFERENCE: "torch",
    f"{REFERENCE}, no cache": "torch",
    "torch.compile": "torch",
    "MyGrad": "mygrad",
    "HIPS autograd": "autograd",
    "micrograd": "micrograd",
}


class DisagreementError(Exception):
    """Two peers computed different losses, so that they did not do the same work."""


def installed(peer: str) -> bool:
    """Whether what the peer imports is there."""
    return peer not in NEEDS or importlib.util.find_spec(NEEDS[peer]) is not None


def available(workload: Workload, chosen: Iterable[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """The peers that can run here, and why the others are left out."""
    wanted = [name for name in workload.peers if chosen is None or name in chosen]
    missing = {name: f"{NEEDS[name]} is not installed" for name in wanted if not installed(name)}
    return [name for name in wanted if name not in missing], missing


def compare(workload: Workload, seconds: float, chosen: Iterable[str] | None = None) -> dict[str, Any]:
    """Times of all peers; raises DisagreementError where losses differ. `seconds`: how long to go on measuring."""
    problem = workload.problem(**workload.sizes)
    names, left_out = available(workload, chosen)
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for name in names:
        try:
            steps[name] = workload.peers[name](problem)
            losses[name] = [steps[name]() for _ in range(3)]
            _warm_up(steps[name])
        except Exception as error:  # it needs a C++ compiler and more
            if name != "torch.compile":
                raise
            steps.pop(name, None)
            left_out[name] = f"does not work here: {type(error).__name__}"
    _check_losses(workload, losses)
    times = _in_turn(steps, seconds)
    return {"peers": _summary(workload, times, losses), "left_out": left_out}


def _check_losses(workload: Workload, losses: Mapping[str, list[float]]) -> None:
    reference = REFERENCE if REFERENCE in losses else next(iter(losses))
    for name, values in losses.items():
        for number, (value, expected) in enumerate(zip(values, losses[reference], strict=True)):
            if not math.isclose(value, expected, rel_tol=workload.tolerance):
                raise DisagreementError(
                    f"{workload.name}: {name} computed {value} in step {number}, {reference} {expected}: "
                    "they do not do the same work"
                )


def _in_turn(steps: Mapping[str, Step], seconds: float, least: int = 5) -> dict[str, list[tuple[float, float]]]:
    """For each peer, the wall and CPU seconds of a step in each round."""
    numbers = {
        name: math.ceil(BLOCK / max(min(_block(step, 1)[0] for _ in range(3)), 1e-6)) for name, step in steps.items()
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    start, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - start < seconds:
        for name, step in steps.items():
            times[name].append(_block(step, numbers[name]))
        rounds += 1
    return times


def _warm_up(step: Step, seconds: float = 0.5, most: int = 100) -> None:
    """Whatever happens in the first steps only, such as compiling, is not what a training run waits for."""
    start = time.perf_counter()
    for _ in range(most):
        if time.perf_counter() - start > seconds:
            break
        step()


def _block(step: Step, number: int) -> tuple[float, float]:
    """Wall and CPU seconds of a step, over so many of them."""
    gc.collect()  # nobody pays for what another one left behind
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(number):
        step()
    return (time.perf_counter() - wall) / number, (time.process_time() - cpu) / number


def _summary(
    workload: Workload, times: Mapping[str, list[tuple[float, float]]], losses: Mapping[str, list[float]]
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
        rows[name] = row
    return rows


# Memory --------------------------------------------------------------------------------------------------------------


def peak_memory(workload: Workload, peer: str) -> dict[str, float]:
    """MiB at the peak of a process that runs the workload, and how many of them came after the imports."""
    command = [sys.executable, "-m", "tests.benchmarks.measure", workload.name, peer, json.dumps(workload.sizes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {peer} on {workload.name} failed: {done.stderr.strip()[-800:]}")
    return dict(zip(("peak_mib", "added_mib"), map(float, done.stdout.split()[-2:]), strict=True))


def _peak_mib() -> float:
    """The most memory that this process has ever held."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage counts what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def _measure_memory(workload: Workload, peer: str, steps: int = 5) -> tuple[float, float]:
    """The work of the process that `peak_memory` starts."""
    if peer in NEEDS:
        importlib.import_module(NEEDS[peer])
    before = _peak_mib()
    step = workload.peers[peer](workload.problem(**workload.sizes))
    for _ in range(steps):
        step()
    return _peak_mib(), _peak_mib() - before


if __name__ == "__main__":
    from dataclasses import replace

    from tests.benchmarks.workloads import BY_NAME

    _, name, peer, sizes = sys.argv
    print(*_measure_memory(replace(BY_NAME[name], sizes=json.loads(sizes)), peer))
