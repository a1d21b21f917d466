"""The page that steps through a picture: one file with everything in it, that needs no network and no layout."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from tinygrad_edu.autograd import changes, clock
from viz.compact import compact
from viz.details import describe, tell_descents
from viz.dot import dot
from viz.fold import Folding
from viz.frames import Frame, frames
from viz.layouts import Layout, layouts
from viz.page import Page, fill
from viz.palette import LIGHT
from viz.parts import Card, Trace, View
from viz.render import render
from viz.replay import RATES, Descent, descend, trainable, why_no_descent
from viz.terminal import written
from viz.text import printable
from viz.trace import write
from viz.wording import say, translate_source

_LARGE = 2_000_000  # parameters


@dataclass(frozen=True)
class Scene:
    """One layout with its picture and its frames."""

    layout: Layout
    svg: str
    frames: list[Frame]


class Steps(Page):
    """A page that steps through the chain rule. Notebooks show it; `save` writes it as one file."""

    def __init__(
        self, trace: Trace, folding: Folding, title: str | None, *, direction: str, theme: str, lang: str, rate: float
    ) -> None:
        """title: instead of the trace's own."""
        self.trace, self.folding, self.direction = trace, folding, direction
        self.title = printable(str(title)) if title is not None else trace.title
        self.theme, self.lang, self.rate = theme, lang, rate
        self._made = next(clock)

    @cached_property
    def html(self) -> str:
        """The page. Raises ValueError where a value changed since it was asked for: half of it would be wrong."""
        self._refuse_changed()
        with np.errstate(all="ignore"):
            return _page(self)

    def text(self, width: int = 80, colour: bool = False) -> str:
        """The same steps as text of so many columns, with colours for a terminal if wanted. Errors as of `html`."""
        self._refuse_changed()
        with np.errstate(all="ignore"):
            refused = why_no_descent(self.trace)
            view = self.view(self.folding)
            descent = None if refused else descend(self.trace, self.rate)
            told = frames(view, descent, refused=refused, lang=self.lang, hint=False)
        return written(self.title, told, width=width, colour=colour, lang=self.lang)

    def view(self, folding: Folding) -> View:
        """What is drawn of the graph, with the rules of the cards in sight."""
        view = folding.view(self.trace)
        write(view.read, self.trace)
        return view

    def _refuse_changed(self) -> None:
        for card in self.trace.cards:
            if changes.since(card.tensor._data, self._made):
                raise ValueError(
                    f"steps: {card.name} was changed in place since the graph was drawn (by an optimizer’s step?); "
                    "save the page before"
                )


# The file -----------------------------------------------------------------------------------------------------------


def _page(steps: Steps) -> str:
    trace, lang = steps.trace, steps.lang
    refused = why_no_descent(trace)
    descents = [] if refused else [descend(trace, rate) for rate in _rates(steps)]
    scenes = _scenes(steps, descents, refused)
    others = list(enumerate(scenes))[1:]
    content = {
        "lang": lang,
        "title": escape(steps.title),
        "svg": scenes[0].svg,
        "views": "\n".join(f'<template id="view-{number}">{scene.svg}</template>' for number, scene in others),
        "steps": _list(scenes[0].frames),
    }
    labels = {key: escape(label) for key, label in _labels(lang).items()}
    return fill("page", steps.theme, _data(steps, scenes, descents), **labels, **content)


def _rates(steps: Steps) -> list[float]:
    """The step sizes to choose from; of a large model, which takes long to compute again, the one that was given."""
    size = sum(card.value.size for card in trainable(steps.trace))
    return sorted({*RATES, steps.rate}) if size <= _LARGE else [steps.rate]


def _labels(lang: str) -> dict[str, str]:
    """What buttons and headings say; the page fills in numbers."""
    return {key: say(key, lang, number="{number}", count="{count}") for key in _LABELS}


_LABELS = (
    "phases fold unfold search help details picture minimap zoom_in zoom_out zoom_all progress previous next play "
    "pause no_script all_steps search_hint keys pointer close step_of nothing_found mathematics computed value "
    "gradient kept module step_size toggle theme_label phase_forward phase_backward phase_update"
).split()


def _list(steps: Iterable[Frame]) -> str:
    """All steps in words, each a link to itself."""
    lines = []
    for frame in steps:
        sums = "; ".join(", ".join(part for part in pair if part) for pair in frame.mathematics)
        said = escape(f"{frame.caption} {sums}".strip())
        lines.append(f'<li data-key="{frame.key}"><a href="#{frame.key}">{said}</a></li>')
    return "\n".join(lines)


# The pictures -------------------------------------------------------------------------------------------------------


def _scenes(steps: Steps, descents: list[Descent], refused: str) -> list[Scene]:
    """Every layout drawn, each in a process of its own; where that takes too long, again with half as many cards."""
    folding = steps.folding
    while True:
        found = layouts(steps.trace, folding)
        for layout in found:
            write(layout.view.read, steps.trace)
        try:
            with ThreadPoolExecutor() as pool:
                return list(pool.map(lambda layout: _scene(steps, layout, descents, refused), found))
        except TimeoutError as error:
            folding = folding.halved(found[0].view, error)


def _scene(steps: Steps, layout: Layout, descents: list[Descent], refused: str) -> Scene:
    source = dot(layout.view, direction=steps.direction, palette=LIGHT, heading=steps.title)
    svg = compact(render(translate_source(source, steps.lang), "svg").decode())
    chosen = next((descent for descent in descents if descent.rate == steps.rate), None)
    return Scene(layout, svg, frames(layout.view, chosen, refused=refused, lang=steps.lang))


# The data -----------------------------------------------------------------------------------------------------------


def _data(steps: Steps, scenes: list[Scene], descents: list[Descent]) -> dict[str, Any]:
    lang = steps.lang
    data: dict[str, Any] = {"lang": lang, "title": steps.title, "start": 0, "ui": _labels(lang)}
    data["views"] = [
        {
            "frames": [asdict(frame) | {"place": _place(frame, scene.layout.view)} for frame in scene.frames],
            "cards": [node.id for node in scene.layout.view.nodes],
            "folds": scene.layout.folds,
            "less": scene.layout.less,
            "more": scene.layout.more,
        }
        for scene in scenes
    ]
    nodes = {node.id: (node, scene.layout.view) for scene in scenes for node in scene.layout.view.nodes}
    data["cards"] = {identity: describe(node, view, lang) for identity, (node, view) in nodes.items()}
    data["update"] = tell_descents(scenes[0].layout.view, descents, steps.rate, lang) if descents else None
    return data


def _place(frame: Frame, view: View) -> int:
    """Where in the graph a frame is, by when its card was made: the same in every layout."""
    node = next((node for node in view.nodes if node.id == frame.card), None)
    if node is None:
        return 0 if frame.phase == "forward" else len(view.trace.cards)
    card = node if isinstance(node, Card) else node.cards[-1 if frame.phase == "backward" else 0]
    return view.trace.cards.index(card)
