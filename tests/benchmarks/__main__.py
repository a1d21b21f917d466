"""How fast is it, beside what else one could use? Every peer does the same work, in a process of its own, in turn.

    python -m tests.benchmarks [--only gpt] [--threads 1] [--quick] [--json bench.json]     # or: make bench

`ratio` is the time of a whole training step relative to PyTorch eager in the same run, `CPU ratio` the same in CPU time
of all threads, `peak MiB` the most memory that its process held, `added MiB` how much of it after the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from models import command
from tests.benchmarks.workloads import BY_NAME

PARTS = (*BY_NAME, "overhead", "growth")
PEERS = dict.fromkeys(peer for workload in BY_NAME.values() for peer in workload.peers)


def _parser() -> command.Parser:
    parser = command.Parser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts only")
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="compare these peers only")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="how many threads everyone gets")
    parser.add_argument("--quick", action="store_true", help="a rough answer soon: few rounds, no growth")
    parser.add_argument("--seconds", type=float, help="how long to measure each workload, 20 by default")
    parser.add_argument("--json", type=Path, help="also write everything here")
    parser.add_argument("--docs", type=Path, help="also rewrite the tables and plots in this page")
    parser.set_defaults(run=_run)
    return parser


def _limit_threads(threads: int) -> None:
    """Read by BLAS and PyTorch where they are first imported: in the processes of the peers."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = str(threads)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks import growth, measure, overhead, report

    seconds = options.seconds or (2 if options.quick else 20)
    result: dict[str, Any] = {"machine": report.machine(options.threads), "workloads": {}}
    for name in (name for name in options.only if name in BY_NAME):
        print(f"{name}: {BY_NAME[name].title}", flush=True)
        result["workloads"][name] = measure.compare(BY_NAME[name], seconds, options.peers)
    if "overhead" in options.only:
        print("overhead of one op", flush=True)
        result["overhead"] = overhead.per_op(5 if options.quick else 25)
    if "growth" in options.only and not options.quick:
        print("growth with size", flush=True)
        result["growth"] = growth.grow(seconds / 10)
    return result


def _show(result: dict[str, Any]) -> None:
    from tests.benchmarks import report

    print("\n" + ", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    if result["workloads"]:
        print("\n" + report.aligned(report.HEAD, report.workload_rows(result["workloads"])))
        print("".join(f"\nleft out: {line}" for line in report.left_out(result["workloads"])))
    if "overhead" in result:
        print("\nmicroseconds per op\n" + report.aligned(*report.overhead_rows(result["overhead"])))
    if "growth" in result:
        print("\none step of gpt\n" + report.aligned(*report.growth_rows(result["growth"])))


def _keep(result: dict[str, Any], options: argparse.Namespace) -> None:
    from tests.benchmarks import growth, report

    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if options.docs:
        report.rewrite(options.docs, report.parts(result))
        if "growth" in result:
            growth.picture(result["growth"], options.docs.parent / "pictures" / "growth.svg")


def _run(options: argparse.Namespace) -> int:
    """Measure, show, keep."""
    _limit_threads(options.threads)
    result = _measure(options)
    _show(result)
    _keep(result, options)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(_parser()))
