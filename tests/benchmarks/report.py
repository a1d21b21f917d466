"""What was measured, as an aligned table, as Markdown between the markers of a page, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks.workload import OURS
from tests.benchmarks.workloads import BY_NAME

Rows = list[list[str]]
HEAD = ["workload", "peer", "ms", "ratio", "CPU ratio", "peak MiB", "added MiB", "tokens/s"]


def machine(threads: int) -> dict[str, Any]:
    """On what it was measured."""
    packages = {}
    for name in ("numpy", "torch", "mygrad", "autograd", "micrograd"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "threads": threads,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **packages,
    }


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return ""
    return f"{value:.{digits}g}" if 0.001 <= value < 1000 else f"{value:.0f}" if value >= 1 else f"{value:.4f}"


def workload_rows(results: dict[str, Any]) -> Rows:
    """One row for each workload and peer, the fastest first."""
    rows = []
    for name, result in results.items():
        for peer, row in sorted(result["peers"].items(), key=lambda item: item[1]["milliseconds"]):
            keys = ("milliseconds", "ratio", "cpu_ratio", "peak_mib", "added_mib", "tokens_per_second")
            rows.append([name, peer, *(_number(row.get(key)) for key in keys)])
    return rows


def overhead_rows(measured: list[dict[str, Any]]) -> tuple[list[str], Rows]:
    """One row for each op and framework, in microseconds."""
    head = ["op", "shape", "framework", "called", "recorded", "backward"]
    return head, [[row[k] if isinstance(row[k], str) else _number(row[k], 2) for k in head] for row in measured]


def growth_rows(measured: list[dict[str, Any]]) -> tuple[list[str], Rows]:
    """One row for each size: both frameworks' time and memory."""
    sides = list(dict.fromkeys(row["framework"] for row in measured))
    head = ["axis", "size", *(f"{side}, ms" for side in sides), *(f"{side}, MiB" for side in sides)]
    found = {(row["axis"], row["size"], row["framework"]): row for row in measured}
    rows = []
    for axis, size in dict.fromkeys((row["axis"], row["size"]) for row in measured):
        rows.append(
            [axis, str(size)]
            + [_number(found[axis, size, side][kind]) for kind in ("milliseconds", "mebibytes") for side in sides]
        )
    return head, rows


def aligned(head: Sequence[str], rows: Rows) -> str:
    """A table for the terminal: words to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in [list(head), *rows]:
        cells = (cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(".", "", 1).replace("-", "", 1).isdigit()


def markdown(head: Sequence[str], rows: Rows) -> str:
    """The same for a page; what is ours stands out."""
    rule = ["---:" if all(_is_number(row[i]) for row in rows) else "---" for i in range(len(head))]
    rows = [[f"**{cell}**" if cell.startswith(OURS) else cell for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), rule, *rows])


def one_row_each(results: dict[str, Any], kind: str) -> tuple[list[str], Rows]:
    """The overview: a row for each workload, a column for each peer."""
    peers = list(dict.fromkeys(peer for name in results for peer in BY_NAME[name].peers))
    peers = [peer for peer in peers if any(kind in results[name]["peers"].get(peer, {}) for name in results)]
    rows = [
        [f"`{name}`: {BY_NAME[name].title}"] + [_number(result["peers"].get(peer, {}).get(kind)) for peer in peers]
        for name, result in results.items()
    ]
    return ["workload", *peers], rows


def left_out(results: dict[str, Any]) -> list[str]:
    """Which peers are missing from the table, and why."""
    reasons = {f"{peer}: {why}" for result in results.values() for peer, why in result["left_out"].items()}
    return sorted(reasons)


def rewrite(page: Path, parts: dict[str, str]) -> None:
    """Put each text between `<!-- bench: name -->` and `<!-- end -->` in a page; other parts stay as they are."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        start = f"<!-- bench: {name} -->"
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition("<!-- end -->")
        if not found or not ended:
            raise SystemExit(f"{page} has no place for the {name}: expected {start} ... <!-- end -->")
        text = f"{before}{start}\n{part}\n<!-- end -->{after}"
    page.write_text(text, encoding="utf-8")


def parts(report: dict[str, Any]) -> dict[str, str]:
    """What a page shows of a report, by the name of its marker."""
    found = {}
    if report.get("workloads"):
        found["machine"] = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
        found["times"] = markdown(*one_row_each(report["workloads"], "ratio"))
        found["memory"] = markdown(*one_row_each(report["workloads"], "peak_mib"))
        speeds = report["workloads"].get("generation")
        if speeds is not None:
            found["generation"] = markdown(*one_row_each({"generation": speeds}, "tokens_per_second"))
    if report.get("overhead"):
        found["overhead"] = markdown(*overhead_rows(report["overhead"]))
    if report.get("growth"):
        what = "Time and memory of a step over width, depth, context and batch, for tinygrad_edu and PyTorch"
        found["growth"] = f"![{what}](pictures/growth.svg)"
    return found
