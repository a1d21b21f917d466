"""Charts of learning: losses that fall, where a model draws the line between classes, what it says of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import tinygrad_edu.functional as F
from tinygrad_edu import Tensor, no_grad
from viz.arguments import able, array, finite, got, listed, numbers
from viz.chart import Canvas, Chart
from viz.palette import NOTE, Palette, rgb
from viz.signs import clipped
from viz.text import printable

_MANY = 200  # so many losses are noise: their mean over neighbours is drawn
_SIDE = 200  # points at which a decision boundary asks the model, along each side
_COLUMNS = 10  # images in a row


# Losses --------------------------------------------------------------------------------------------------------------


def loss_curves(
    losses: Mapping[str, Any],
    *,
    accuracies: Mapping[str, Any] | None = None,
    references: Mapping[str, float] | None = None,
    step: str = "step",
    unit: str = "",
    title: str = "Learning",
    theme: str = "auto",
) -> Chart:
    """Losses as lines over the steps, and accuracies, if there are any, beside them.

    losses: name -> values (N,) after the steps 1 to N, or pairs (N, 2) of a step and the value after it. Of more than
    200, which jump from batch to batch, the mean over a fiftieth of them is drawn over the values themselves.
    accuracies: likewise, from 0 to 1. references: losses to compare with, as dashed lines: what they are -> the loss.
    step: what is counted on the axis, such as "epoch". unit: of the loss, such as "nats per token".
    A value may be NaN or infinite, where training went wrong; nothing is drawn there.
    Raises ValueError for other shapes, or if there is no value at all, and TypeError for what is no dict of numbers.

    >>> loss_curves({"training": [0.9, 0.4, 0.2], "test": [(1, 0.8), (3, 0.3)]}, title="Two curves")
    <Chart of Two curves>
    """
    curves, shares = _curves(losses, "losses"), _curves(accuracies or {}, "accuracies")
    lines = _references(references or {})
    if not curves:
        raise ValueError("loss_curves: there is no loss to draw")
    names = list(dict.fromkeys([*curves, *shares]))

    def draw(canvas: Canvas) -> None:
        colours = dict(zip(names, _cycle(canvas.palette, len(names))))
        left, *right = canvas.figure.subplots(1, 1 + bool(shares), squeeze=False)[0]
        _plot(left, curves, colours, "{:#.3g}")
        values = np.concatenate([list(lines.values()), *(y for _, y in curves.values())])
        values = values[np.isfinite(values)]
        left.set(title=f"loss in {unit}" if unit else "loss", xlabel=step)
        left.set_ylim(1.1 * min(0.0, values.min(initial=0)), 1.1 * values.max(initial=0) or 1)
        _compare(canvas, left, lines)
        for axes in right:
            _plot(axes, {name: (x, 100 * y) for name, (x, y) in shares.items()}, colours, "{:.1f} %")
            least = min(y[np.isfinite(y)].min(initial=1) for _, y in shares.values())
            room = max(1.0, 100 - 100 * float(least))
            axes.set(title="accuracy in %", xlabel=step, ylim=(100 - 1.05 * room, 100 + 0.03 * room))

    return Chart(title, "", (9, 4.3), draw, theme)


def _curves(given: Mapping[str, Any], what: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The steps and the values of each line that has any; the arrays are copies."""
    if not isinstance(given, Mapping):
        raise TypeError(f"loss_curves: {what} is a dict from names to values, got {got(given)}")
    curves = {}
    for name, values in given.items():
        points = numbers(f"loss_curves: {what}[{name!r}]", values)
        if points.size and not (points.ndim == 1 or (points.ndim == 2 and points.shape[1] == 2)):
            raise ValueError(f"loss_curves: {what}[{name!r}]: expected values (N,) or pairs (N, 2), got {points.shape}")
        if points.size:
            curves[name] = (np.arange(1, len(points) + 1), points) if points.ndim == 1 else (points[:, 0], points[:, 1])
            finite(f"loss_curves: the steps of {what}[{name!r}]", curves[name][0])
    return curves


def _references(given: Mapping[str, Any]) -> dict[str, float]:
    """What losses are compared with: words -> the loss."""
    if not isinstance(given, Mapping):
        raise TypeError(f'loss_curves: references is a dict from words to losses, {{"chance": 2.3}}, got {got(given)}')
    lines = {}
    for words, value in given.items():
        loss = numbers(f"loss_curves: references[{words!r}]", value)
        if loss.size != 1:
            raise ValueError(f"loss_curves: references[{words!r}]: expected one loss, got shape {loss.shape}")
        lines[printable(str(words))] = float(finite(f"loss_curves: references[{words!r}]", loss).item())
    return lines


def _plot(axes: Any, curves: dict[str, tuple[np.ndarray, np.ndarray]], colours: dict[str, str], form: str) -> None:
    """Each line in its colour, with the value that it ends at."""
    for name, (x, y) in curves.items():
        if len(y) > _MANY:
            axes.plot(x, y, color=colours[name], linewidth=0.6, alpha=0.3)
            window = len(y) // 50
            x, y = (np.convolve(each, np.full(window, 1 / window), mode="valid") for each in (x, y))
        look = {"linewidth": 2, "marker": "o", "markersize": 4 if len(y) <= 50 else 0}
        axes.plot(x, y, color=colours[name], label=f"{printable(str(name))}: {form.format(y[-1])} at the end", **look)
    axes.set_xlim(0, 1.03 * max(float(x[-1]) for x, _ in curves.values()) or 1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid()
    axes.legend(loc="best")


def _compare(canvas: Canvas, axes: Any, references: dict[str, float]) -> None:
    """Dashed lines with their words on them, below where there is no room above."""
    above, top = np.inf, axes.get_ylim()[1]
    for words, loss in sorted(references.items(), key=lambda each: -each[1]):
        axes.axhline(loss, color=canvas.palette.muted, linestyle=(0, (5, 4)), linewidth=1.2)
        crowded = above - loss < 0.08 * top
        axes.annotate(
            f"{words}: {loss:#.3g}",
            (axes.get_xlim()[1], loss),
            (-4, -4 if crowded else 4),
            textcoords="offset points",
            ha="right",
            va="top" if crowded else "bottom",
            color=canvas.palette.muted,
            size=NOTE,
        )
        above = loss


# Classes -------------------------------------------------------------------------------------------------------------


def decision_boundary(
    model: Callable[[Tensor], Any],
    X: ArrayLike,
    y: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    title: str = "Where the model draws the line",
    theme: str = "auto",
) -> Chart:
    """Points in the colours of their classes, over the colours of what the model expects everywhere else.

    model: points (N, 2), a float32 Tensor, -> logits (N, C), as `F.cross_entropy` takes them; it is called as it is.
    X: the points (N, 2). y: their classes (N,), integers from 0 to C - 1. classes: the names of the C classes.
    Raises ValueError for other shapes, NaN and infinity, and TypeError for what is no model or no number.

    >>> X = [[0.0, 0.0], [1.0, 1.0]]
    >>> decision_boundary(lambda x: x * 2.0, X, [0, 1], classes=("west", "north"))
    <Chart of Where the model draws the line>
    """
    able("decision_boundary: model", model, "__call__", "expected a module or a function of points (N, 2)")
    points, labels = numbers("decision_boundary: X", X), array("decision_boundary: y", y)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not labels.size:
        raise ValueError(
            f"decision_boundary: expected points (N, 2) and classes (N,), got {points.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"decision_boundary: y: expected integers, the numbers of the classes, got {labels.dtype}: their names are "
            "classes=[...]"
        )
    width = np.ptp(finite("decision_boundary: X", points), axis=0)
    margin = np.where(width > 0, 0.08 * width, 0.5)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    chances = _chances(model, low, high)  # (side, side, C)
    C = chances.shape[-1]
    names = [
        printable(str(name)) for name in listed("decision_boundary: classes", range(C) if classes is None else classes)
    ]
    if len(names) != C or labels.min() < 0 or labels.max() >= C:
        raise ValueError(
            f"decision_boundary: the model knows {C} classes; expected as many names, got {len(names)}, and y as "
            f"integers from 0 to {C - 1}, got {labels.dtype} from {labels.min()} to {labels.max()}"
        )

    def draw(canvas: Canvas) -> None:
        axes, extent = canvas.figure.subplots(), (low[0], high[0], low[1], high[1])

        def tint(palette: Palette) -> np.ndarray:  # mixed, and let the paper shine through: (side, side, 4)
            colours = np.array([rgb(colour) for colour in _cycle(palette, C)]) / 255
            mixed = chances @ colours  # (side, side, C) -> (..., 3)
            return np.concatenate([mixed.clip(0, 1), np.full((*mixed.shape[:2], 1), 0.3)], axis=-1)

        canvas.image(axes, tint, origin="lower", extent=extent, aspect="auto")
        if C == 2 and chances[..., 0].min() < 0.5 < chances[..., 0].max():
            axes.contour(chances[..., 0], levels=[0.5], extent=extent, colors=[canvas.palette.ink], linewidths=1.5)
        for label, (name, colour) in enumerate(zip(names, _cycle(canvas.palette, C))):
            look: dict[str, Any] = {"s": 24, "color": colour, "edgecolor": canvas.palette.paper, "linewidth": 0.7}
            axes.scatter(*points[labels == label].T, **look, label=clipped(f"class {name}", 24))
        axes.set(xlabel="x₁", ylabel="x₂")
        if C <= 12:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    words = "colour of a place: the class that the model expects there  ·  dots: the samples"
    return Chart(title, words, (7.5, 4.9), draw, theme)


def _chances(model: Callable[[Tensor], Any], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The probability of each class on a grid of points: (side, side, C)."""
    across, up = np.meshgrid(*(np.linspace(low[i], high[i], _SIDE) for i in (0, 1)))  # 2 x (side, side)
    grid = np.stack([across, up], axis=-1).reshape(-1, 2)  # (side, side, 2) -> (N, 2)
    with no_grad():
        found = model(Tensor(grid.astype(np.float32)))
    values = numbers("decision_boundary: logits of the model", found)
    if values.ndim != 2 or values.shape[0] != len(grid) or values.shape[1] < 2:
        raise ValueError(
            f"decision_boundary: expected logits ({len(grid)}, C), C > 1, from the model, got {values.shape}"
        )
    finite("decision_boundary: logits of the model", np.where(np.isneginf(values), 0, values))  # -inf: not this class
    return F.softmax(Tensor(np.asarray(found))).data.reshape(_SIDE, _SIDE, -1)  # (N, C) -> (side, side, C)


def _cycle(palette: Palette, count: int) -> list[str]:
    """So many colours, from the beginning again after the last."""
    return [palette.categories[i % len(palette.categories)] for i in range(count)]


# Images --------------------------------------------------------------------------------------------------------------


def predictions(
    images: ArrayLike,
    truth: Sequence[Any],
    predicted: Sequence[Any],
    *,
    title: str | None = None,
    theme: str = "auto",
) -> Chart:
    """Images (N, H, W) with what a model takes them for: up to 20 that it gets right, then up to 20 that it does not.

    truth, predicted: the N names of what they are, and of what the model reads. ValueError if N differs or is 0.

    >>> predictions([[[0.0, 1.0]], [[1.0, 0.0]]], truth=["right", "left"], predicted=["right", "right"])
    <Chart of 2 images: 1 right, 1 wrong>
    """
    shown = numbers("predictions: images", images)
    is_ = [printable(str(each)) for each in listed("predictions: truth", truth)]
    reads = [printable(str(each)) for each in listed("predictions: predicted", predicted)]
    if shown.ndim != 3 or not len(shown) == len(is_) == len(reads):
        raise ValueError(
            "predictions: expected images (N, H, W), and N names of what they are and of what is read, got "
            f"{shown.shape}, {len(is_)} and {len(reads)}"
        )
    if not shown.size:
        raise ValueError(f"predictions: there is no image to draw: the images have shape {shown.shape}")
    wrong = [i for i in range(len(shown)) if is_[i] != reads[i]]
    right = [i for i in range(len(shown)) if is_[i] == reads[i]]
    rows = [kind[i : i + _COLUMNS] for kind in (right, wrong) for i in range(0, min(len(kind), 2 * _COLUMNS), _COLUMNS)]

    def draw(canvas: Canvas) -> None:
        grid = canvas.figure.subplots(len(rows), _COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, indices in enumerate(rows):
            for axes, i in zip(grid[row], indices):
                canvas.image(axes, shown[i], "ink")
                _say(canvas, axes, reads[i], is_[i])

    words = "framed: what the model reads, and what it is" if wrong else ""
    heading = title if title is not None else f"{len(shown)} images: {len(right)} right, {len(wrong)} wrong"
    return Chart(heading, words, (9, 1.0 + 1.12 * len(rows)), draw, theme)


def _say(canvas: Canvas, axes: Any, reads: str, is_: str) -> None:
    """What the model reads; where it is wrong, an orange frame and what would have been right."""
    look: dict[str, Any] = {"loc": "center", "pad": 4, "color": canvas.palette.value}
    if reads != is_:
        look |= {"color": canvas.palette.gradient, "fontweight": "bold"}
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=canvas.palette.gradient, linewidth=2)
    axes.set_title(clipped(reads) if reads == is_ else f"{clipped(reads, 6)}, is {clipped(is_, 6)}", **look)
