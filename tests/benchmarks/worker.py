"""The process of one peer: it builds its step, and runs so many of them whenever it is asked to.

It reads requests from its standard input and writes answers to its standard output, as pickles. A request is the name
of a method of `Peer` with its arguments; an answer is (True, what it returned) or (False, (kind of error, message)).
Where the requests end, it ends. Before it answers it lets its threads fall asleep: it takes no time from others.

Nothing here imports tinygrad_edu: it changes how glibc keeps memory, which would make other peers faster than they are.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, BinaryIO

from tests.benchmarks.workload import Build


class Peer:
    """What can be asked of a peer, in this order."""

    def load(self, build: Build, library: str | None) -> None:
        """Import what it needs; memory counts from here."""
        if library is not None:
            importlib.import_module(library)
        self.make, self.before = build, peak_mib()

    def build(self, problem: Any, steps: int) -> list[float]:
        """Make the step, and return the losses of the first ones."""
        self.step = self.make(deepcopy(problem))  # arrays that come out of a pickle do not own their memory
        return [self.step() for _ in range(steps)]

    def warm_up(self, seconds: float) -> float:
        """How long a step takes, once what happens in the first ones only, such as compiling, is over."""
        fastest, end = float("inf"), time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            self.step()
            fastest = min(fastest, time.perf_counter() - start)
        return fastest

    def block(self, untimed: int, timed: int) -> tuple[float, float]:
        """Wall and CPU seconds of a step, over so many of them after others that fill the caches."""
        for _ in range(untimed):
            self.step()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(timed):
            self.step()
        return (time.perf_counter() - wall) / timed, (time.process_time() - cpu) / timed

    def memory(self) -> dict[str, float]:
        """MiB at the peak, and how many of them came after the imports."""
        peak = peak_mib()
        return {} if peak is None or self.before is None else {"peak_mib": peak, "added_mib": peak - self.before}


def rest(interval: float = 0.025, most: int = 40) -> None:
    """Wait for the threads of BLAS and OpenMP to sleep: they look for more work first, OpenBLAS's for 0.1 s."""
    for _ in range(most):
        before = time.process_time()
        time.sleep(interval)
        if time.process_time() - before < interval / 10:
            break


def peak_mib() -> float | None:
    """The most memory that this process has ever held; None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage counts what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer for as long as somebody asks."""
    peer = Peer()
    while True:
        try:
            request, arguments = pickle.load(requests)
            answer = True, getattr(peer, request)(*arguments)
            rest()
        except EOFError:
            return
        except Exception as error:
            answer = False, (type(error).__name__, str(error))
        pickle.dump(answer, answers)
        answers.flush()


def _own(descriptor: int, instead: int, mode: str) -> Any:
    """A standard stream for this file alone; whoever else reads or prints gets `instead`."""
    stream = os.fdopen(os.dup(descriptor), mode)
    os.dup2(instead, descriptor)
    return stream


if __name__ == "__main__":
    serve(_own(0, os.open(os.devnull, os.O_RDONLY), "rb"), _own(1, sys.stderr.fileno(), "wb"))
