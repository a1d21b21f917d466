"""How time and memory grow with the size of a GPT: its width, its depth, its context and its batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import compare, installed
from tests.benchmarks.workload import OURS, REFERENCE
from tests.benchmarks.workloads.gpt import GPT

SIZES = {
    "width": (32, 64, 128, 256),
    "depth": (1, 2, 4, 8),
    "context": (32, 64, 128, 256),
    "batch": (1, 4, 12, 32),
}
COLORS = {OURS: "#0067a5", REFERENCE: "#b8480a"}


def grow(seconds: float) -> list[dict[str, Any]]:
    """One row for each axis, size and framework; all other sizes stay those of `gpt`.

    Sizes are not measured in turn, so each time is the fastest block: what it takes when nothing disturbs.
    """
    rows = []
    sides = [name for name in COLORS if installed(name)]
    for axis, sizes in SIZES.items():
        for size in sizes:
            workload = replace(GPT, sizes={axis: size})
            found = compare(workload, seconds, sides)["peers"]
            rows += [
                {"axis": axis, "size": size, "framework": name}
                | {"milliseconds": found[name]["fastest"], "mebibytes": found[name].get("added_mib")}
                for name in sides
            ]
            print(f"  {axis} {size}", flush=True)
    return rows


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Time above, memory below, one column for each axis, both on logarithmic scales."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, ScalarFormatter

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 10})
    figure, grid = plt.subplots(2, len(SIZES), figsize=(9, 4.6), layout="constrained", sharey="row")
    for column, (axis, sizes) in enumerate(SIZES.items()):
        for panel, (kind, label) in zip(
            grid[:, column], (("milliseconds", "step in ms"), ("mebibytes", "MiB added")), strict=True
        ):
            for name, color in COLORS.items():
                found = [row for row in rows if row["axis"] == axis and row["framework"] == name]
                panel.plot(
                    [row["size"] for row in found], [row[kind] for row in found], "o-", color=color, ms=3, label=name
                )
            panel.set(xscale="log", yscale="log", xticks=sizes)
            panel.xaxis.set_major_formatter(ScalarFormatter())
            panel.minorticks_off()
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(ScalarFormatter())
            panel.spines[["top", "right"]].set_visible(False)
            if column == 0:
                panel.set_ylabel(label)
        grid[1, column].set_xlabel(axis)
    grid[0, 0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
