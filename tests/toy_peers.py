"""Peers of a toy workload, each right or wrong in its own way. Like the real ones, they are imported where they run."""

import importlib
import os
import sys
import time

from tests.benchmarks.workload import Step, cycle


def losses() -> list[float]:
    return [1.0, 2.0]


def right(problem: list[float]) -> Step:
    return cycle(problem)


def talkative(problem: list[float]) -> Step:
    print("and what it prints is not taken for an answer")
    return right(problem)


def wrong(problem: list[float]) -> Step:
    return lambda: 2.5


def failing(problem: list[float]) -> Step:
    raise ValueError("no such\nthing")


def dying(problem: list[float]) -> Step:
    os._exit(3)


def endless(problem: list[float]) -> Step:
    time.sleep(600)
    return right(problem)


def alone(problem: list[float]) -> Step:
    """Its loss says whether tinygrad_edu came along with the workloads."""
    importlib.import_module("tests.benchmarks.workloads")
    return lambda: float("tinygrad_edu" in sys.modules)
