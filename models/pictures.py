"""Pictures of a training: learning curves, predictions, decision boundaries. matplotlib is imported when drawing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.command import INSTALL, UserError
from tinygrad_edu.files import replacing

INK, BLUE, ORANGE, MUTED = "#1f2933", "#0067a5", "#b8480a", "#5f6b78"
PALETTE = (BLUE, ORANGE, "#2e7d4f", "#7a4fa3", "#a8741a", "#0f7f86", "#a83268", MUTED)  # one for each class, then again
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.parse_math": False,  # a class may be called $
    "svg.hashsalt": "tinygrad_edu",  # the same ids in the same picture
}


def learning_curve(
    path: Path, train_loss: Sequence[float], test_loss: Sequence[float], test_accuracy: Sequence[float]
) -> None:
    """The loss falling and the accuracy rising, epoch by epoch."""

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        epochs = np.arange(1, len(train_loss) + 1)
        line = {"linewidth": 2, "marker": "o", "markersize": 3 if len(epochs) <= 50 else 0}
        for losses, colour, name in ((test_loss, ORANGE, "test"), (train_loss, BLUE, "training")):
            left.plot(epochs, losses, color=colour, label=name, **line)
        left.set(title="Loss (cross-entropy)", xlabel="epoch", ylim=(0, 1.08 * max(*train_loss, *test_loss)))
        left.legend(frameon=False)
        percent = 100 * np.asarray(test_accuracy)
        right.plot(epochs, percent, color=ORANGE, **line)
        right.set(title=f"Test accuracy: {percent[-1]:.1f} % at the end", xlabel="epoch", ylabel="%")
        height = max(1.0, 100 - percent.min())
        right.set_ylim(100 - 1.05 * height, 100 + 0.03 * height)
        for axes in (left, right):
            axes.set_xlim(0, 1.03 * len(epochs))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(color=MUTED, alpha=0.2)

    save(path, (9, 3.6), draw)


def image_predictions(
    path: Path, images: np.ndarray, truth: Sequence[str], predicted: Sequence[str], columns: int = 10
) -> None:
    """Test images (N, H, W) with what the model says; first two rows that are right, then up to two that are wrong."""
    wrong = [i for i in range(len(images)) if predicted[i] != truth[i]]
    right = [i for i in range(len(images)) if predicted[i] == truth[i]]
    rows = _rows(right[: 2 * columns], columns) + _rows(wrong[: 2 * columns], columns)

    def draw(figure: Any) -> None:
        figure.suptitle(
            f"{len(images)} test images: {len(right)} right, {len(wrong)} wrong"
            + (" (framed: what the model reads, what it is)" if wrong else ""),
            x=0.02,
            ha="left",
        )
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, indices in enumerate(rows):
            for axes, i in zip(grid[row], indices):
                axes.imshow(images[i], cmap="gray_r")
                axes.set_title(predicted[i], loc="center", color=BLUE, pad=4)
                if truth[i] != predicted[i]:
                    _mark_wrong(axes, predicted[i], truth[i])

    save(path, (9, 0.6 + 1.12 * len(rows)), draw)


def _rows(indices: list[int], columns: int) -> list[list[int]]:
    return [indices[i : i + columns] for i in range(0, len(indices), columns)]


def _mark_wrong(axes: Any, predicted: str, truth: str) -> None:
    """An orange frame, and what would have been right."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=ORANGE, linewidth=2)
    axes.set_title(f"{predicted}, is {truth}", loc="center", color=ORANGE, fontweight="bold", pad=4)


def decision_boundary(
    path: Path, probabilities: Callable[[np.ndarray], np.ndarray], X: np.ndarray, y: np.ndarray, classes: Sequence[str]
) -> None:
    """Points (N, 2) in the colour of their class, over the colours of the model's probabilities (N, C)."""
    colours = np.array([_rgb(PALETTE[i % len(PALETTE)]) for i in range(len(classes))])  # (C, 3)
    width = np.ptp(X, axis=0)
    margin = np.where(width > 0, 0.08 * width, 0.5)
    low, high = X.min(axis=0) - margin, X.max(axis=0) + margin
    side = 200
    across, up = np.meshgrid(np.linspace(low[0], high[0], side), np.linspace(low[1], high[1], side))  # 2 x (side, side)
    chances = probabilities(np.stack([across, up], axis=-1).reshape(-1, 2)).reshape(side, side, -1)  # (side, side, C)
    tint = 0.3 * (chances @ colours) + 0.7  # mixed, then made pale: (side, side, 3)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.imshow(tint.clip(0, 1), origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
        if len(classes) == 2 and chances[..., 0].min() < 0.5 < chances[..., 0].max():
            axes.contour(across, up, chances[..., 0], levels=[0.5], colors=[INK], linewidths=1.5)
        for label, name in enumerate(classes):
            points = X[y == label]
            axes.scatter(
                *points.T, s=22, color=colours[label], edgecolor="white", linewidth=0.6, label=_short(f"class {name}")
            )
        axes.set(title="Where the model draws the line, and the test points", xlabel="x₁", ylabel="x₂")
        if len(classes) <= 12:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    save(path, (7.5, 4.6), draw)


def _short(text: str, longest: int = 24) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def save(path: Path, inches: tuple[float, float], draw: Callable[[Any], None]) -> None:
    """Draw on a new figure of this size and write it as the path's ending says (.svg, .png), replacing an older one."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise UserError(f"matplotlib is not installed: {INSTALL}") from None
    form = path.suffix[1:]
    with rc_context(STYLE):
        figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))  # margins, in inches
        draw(figure)
        with replacing(path) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a class may be called 🍐: it is drawn as a box
            figure.savefig(file, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
