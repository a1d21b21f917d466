"""A training film: weights, gradients, activations, attention and the decision boundary as they change, on one page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_edu import Tensor, no_grad
from tinygrad_edu.nn import Module
from viz import text
from viz.captions import check_language
from viz.figures import pooled
from viz.page import Page, fill
from viz.palette import LIGHT
from viz.wording import say

_CELLS = 24  # of a heat map, along each side
_GRID = 56  # points at which a decision boundary asks the model, along each side
_ROOM = 0.15  # around the points, as a share of their extent
_GROUPS = ("weights", "gradients", "activations", "attention")
_WIDTH, _HEIGHT = 1000.0, 160.0  # the units of the loss curve


@dataclass(frozen=True)
class Shot:
    """One array at one moment, pooled: what is drawn, and the norm and shape of the whole."""

    matrix: np.ndarray
    norm: float
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Moment:
    """What was recorded at one step of training."""

    step: int
    loss: float
    shots: dict[tuple[str, str], Shot] = field(default_factory=dict)  # by group and name
    boundary: np.ndarray | None = None  # (side, side, 2): the class at each point, and its probability


class Film(Page):
    """A film of training: `record` adds a moment, `save` writes the page, notebooks show it.

    >>> from tinygrad_edu import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> film = Film(title="A line")
    >>> for step in range(3):
    ...     loss = (model(Tensor([[1.0, 2.0]])) ** 2).mean()
    ...     model.zero_grad()
    ...     loss.backward()
    ...     film.record(model, loss)
    ...     optimizer.step()
    >>> film
    <Film: A line: 3 moments>
    """

    def __init__(
        self, frames: Iterable[Moment] = (), *, title: str = "Training", theme: str = "auto", lang: str = "en"
    ) -> None:
        """frames: moments recorded before, such as those of another film, `other.frames`."""
        if theme not in ("auto", "light", "dark"):
            raise ValueError(f"viz.film: theme is one of 'auto', 'light', 'dark', got {theme!r}")
        self.title, self.theme, self.lang = text.printable(title), theme, check_language(lang, "viz.film")
        many = isinstance(frames, Iterable) and not isinstance(frames, Tensor)
        self.frames: list[Moment] = list(frames) if many else []
        if not many or not all(isinstance(moment, Moment) for moment in self.frames):
            raise TypeError(
                "viz.film: expected the frames of another film, or none; film.record(model, loss) adds more"
            )
        self._points: tuple[np.ndarray, np.ndarray] | None = None

    @np.errstate(all="ignore")  # whatever the user's own pass already warned about
    def record(
        self,
        model: Module,
        loss: Tensor | float,
        *,
        step: int | None = None,
        activations: Mapping[str, ArrayLike | Tensor] | None = None,
        attention: Mapping[str, ArrayLike | Tensor] | None = None,
        boundary: tuple[Callable[[Tensor], Any], ArrayLike, ArrayLike] | None = None,
    ) -> None:
        """Add a moment: every parameter of the model with its gradient, if it has one, and the loss. All is copied.

        step: its number; by default one more than the last. activations: arrays by name, of any shape.
        attention: weights by name, (T, S) or one square for each head (H, T, S).
        boundary: (predict, X, y) with points X (N, 2), their classes y (N,), and a function from points, a float32
            Tensor (N, 2), to logits (N, C); the points of the first moment stay.
        Call it after `backward()` and before the optimizer's step, so that values and gradients belong together.
        Raises TypeError and ValueError for what cannot be recorded.
        """
        if not isinstance(model, Module):
            raise TypeError(f"film.record: expected a Module, got {type(model).__name__}")
        value = np.asarray(loss.data if isinstance(loss, Tensor) else loss)
        if value.size != 1:
            raise ValueError(f"film.record: the loss must be one number, got shape {value.shape}")
        step = step if step is not None else (self.frames[-1].step + 1 if self.frames else 0)
        parameters = dict(model.named_parameters())
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        recorded: tuple[Mapping[str, Any], ...] = (parameters, gradients, activations or {}, attention or {})
        shots = {
            (group, text.printable(name)): _shot(array, group, name)
            for group, arrays in zip(_GROUPS, recorded, strict=True)
            for name, array in arrays.items()
        }
        grid = self._ask(*boundary) if boundary is not None else None
        self.frames.append(Moment(step, float(value.reshape(())), shots, grid))

    def _ask(self, predict: Callable[[Tensor], Any], X: ArrayLike, y: ArrayLike) -> np.ndarray:
        """What the model says around the points: the likeliest class, and how sure it is."""
        points, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
            raise ValueError(
                f"film.record: boundary= takes points (N, 2) and classes (N,), got {points.shape}, {labels.shape}"
            )
        if not len(points) or not np.isfinite(points).all():
            raise ValueError("film.record: boundary= takes at least one point, and all points must be finite")
        self._points = self._points or (points.copy(), labels.astype(int))
        low, high = _extent(self._points[0])
        x, y_ = (np.linspace(low[axis], high[axis], _GRID) for axis in (0, 1))
        grid = np.stack(np.meshgrid(x, y_[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
        with no_grad():
            logits = np.asarray(predict(Tensor(grid)).data, dtype=np.float64)  # (side², C)
        if logits.ndim != 2 or len(logits) != len(grid):
            raise ValueError(f"film.record: boundary= expects logits ({len(grid)}, C), got {logits.shape}")
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        found = np.stack([shares.argmax(axis=1), shares.max(axis=1)], axis=-1)
        return np.asarray(found.reshape(_GRID, _GRID, 2))

    @property
    def html(self) -> str:
        """The page. Raises ValueError where nothing was recorded."""
        if not self.frames:
            raise ValueError("film: nothing was recorded; call film.record(model, loss) while training")
        labels = {key: escape(say(key, self.lang)) for key in _LABELS}
        return fill("film", self.theme, self._data(), lang=self.lang, title=escape(self.title), **labels)

    def _data(self) -> dict[str, Any]:
        lang = self.lang
        names = list(dict.fromkeys(name for moment in self.frames for name in moment.shots))
        return {
            "lang": lang,
            "play": say("play", lang),
            "pause": say("pause", lang),
            "moments": [
                {"step": m.step, "said": say("film_step", lang, step=m.step, loss=text.number(m.loss))}
                for m in self.frames
            ],
            "curve": _curve([moment.loss for moment in self.frames]),
            "groups": [
                {
                    "title": say(f"film_{group}", lang),
                    "kind": group,
                    "figures": [_figure(self.frames, (group, name), lang) for kind, name in names if kind == group],
                }
                for group in _GROUPS
                if any(kind == group for kind, _ in names)
            ],
            "boundary": self._boundary(),
        }

    def _boundary(self) -> dict[str, Any] | None:
        """The classes around the points, for each moment that has them, and the points in the unit square."""
        if self._points is None:
            return None
        points, labels = self._points
        low, high = _extent(points)
        unit = (points - low) / (high - low)
        places = [
            [round(x, 4), round(1 - y, 4), label] for (x, y), label in zip(unit.tolist(), labels.tolist(), strict=True)
        ]
        grids = [None if moment.boundary is None else _classes(moment.boundary) for moment in self.frames]
        return {
            "side": _GRID,
            "grids": grids,
            "points": places,
            "colors": LIGHT.categories,
            "title": say("film_boundary", self.lang),
        }

    def __repr__(self) -> str:
        return f"<Film: {self.title}: {len(self.frames)} moments>"


_LABELS = "play pause previous next progress theme_label film_no_script film_loss".split()


def film(frames: Iterable[Moment] = (), *, title: str = "Training", theme: str = "auto", lang: str = "en") -> Film:
    """A film of training, from moments recorded before (`other.frames`) or empty, to `record` into. See Film."""
    return Film(frames, title=title, theme=theme, lang=lang)


def _shot(x: Any, group: str, name: str) -> Shot:
    """A small copy: of a tensor the rows and columns, of attention the heads side by side."""
    array = np.asarray(x.data if isinstance(x, Tensor) else x, dtype=np.float64)
    if group == "attention":
        if array.ndim not in (2, 3):
            raise ValueError(f"film.record: attention[{name!r}] takes (T, S) or (heads, T, S), got {array.shape}")
        heads = array.reshape(-1, *array.shape[-2:])  # (H, T, S)
        matrix = np.concatenate([pooled(head, _CELLS) for head in heads], axis=1)  # (T, H S)
    else:
        matrix = array.reshape(-1, array.shape[-1] if array.ndim else 1)
        matrix = pooled(matrix, _CELLS) if array.size else np.zeros((1, 1))
    return Shot(matrix, text.norm(array) if array.size else 0.0, array.shape)


def _extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of what is shown around the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = _ROOM * np.maximum(high - low, 1e-9)
    return low - room, high + room


def _figure(frames: list[Moment], key: tuple[str, str], lang: str) -> dict[str, Any]:
    """One array through all moments, scaled to its largest magnitude in any of them."""
    shots = [moment.shots.get(key) for moment in frames]
    known = [shot for shot in shots if shot is not None]
    finite = [np.abs(shot.matrix[np.isfinite(shot.matrix)]).max(initial=0.0) for shot in known]
    scale = max(finite) or 1.0
    first = known[0]
    return {
        "name": text.name(key[1]),
        "shape": str(first.shape),
        "size": first.matrix.shape,
        "heads": first.shape[0] if key[0] == "attention" and len(first.shape) == 3 else 1,
        "cells": [
            None if shot is None or shot.matrix.shape != first.matrix.shape else _bytes(shot.matrix, scale)
            for shot in shots
        ],
        "norms": ["" if shot is None else f"{say('norm', lang)} {text.number(shot.norm)}" for shot in shots],
    }


def _bytes(matrix: np.ndarray, scale: float) -> str:
    """Each cell as a byte from 0 to 254, 127 for zero; 255 for what is no number."""
    share = np.clip(matrix / scale, -1, 1)
    cells = np.where(np.isfinite(share), np.round(127 + 127 * np.nan_to_num(share)), 255)
    return base64.b64encode(cells.astype(np.uint8).tobytes()).decode()


def _classes(grid: np.ndarray) -> str:
    """Two bytes for each point: the class, and how sure the model is, in 255ths."""
    cells = np.stack([grid[..., 0], np.round(255 * np.nan_to_num(grid[..., 1]))], axis=-1)
    return base64.b64encode(cells.astype(np.uint8).tobytes()).decode()


def _curve(losses: list[float]) -> dict[str, Any]:
    """The loss over the moments, in units of the chart; what is no number leaves a gap."""
    finite = [loss for loss in losses if np.isfinite(loss)]
    low, high = min([0.0, *finite]), max(finite, default=1.0)
    high = high if high > low else low + 1.0
    last = max(len(losses) - 1, 1)
    points = [
        [round(_WIDTH * at / last, 1), round(_HEIGHT * (high - loss) / (high - low), 1)] if np.isfinite(loss) else None
        for at, loss in enumerate(losses)
    ]
    return {"points": points, "width": _WIDTH, "height": _HEIGHT, "high": text.number(high), "low": text.number(low)}
