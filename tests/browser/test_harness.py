"""The harness itself: it sees what it must see."""

from pathlib import Path
from typing import Any

import pytest

import viz
from tests.browser.boxes import faint_texts, overlapping_cards, overlapping_texts, texts_cut_off, texts_outside
from tests.browser.conftest import Watched
from tests.viz.reading import neuron

pytest.importorskip("pygraphviz")


def page_of(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>t</title>{body}", encoding="utf-8")
    return path


def test_errors_and_requests_are_seen(visit: Any, watched: Watched, tmp_path: Path) -> None:
    visit(page_of(tmp_path, "<img src='http://127.0.0.1:9/x.png'><script>throw new Error('broken')</script>"))
    assert any("broken" in error for error in watched.errors)
    assert watched.requests == ["http://127.0.0.1:9/x.png"]
    watched.errors.clear()
    watched.requests.clear()


def test_boxes_that_do_not_fit_are_seen(visit: Any, tmp_path: Path) -> None:
    card = '<g class="node" id="{0}"><path d="M{1},0h90v20h-90z"/><text x="{1}" y="15">{2}</text></g>'
    cards = card.format("a", 0, "short") + card.format("b", 80, "far too long for a card of this width")
    page = visit(page_of(tmp_path, f"<svg width='600' height='200'>{cards}</svg>"))
    assert texts_outside(page) == ["b: far too long for a card of this width"]
    assert overlapping_cards(page) == ["a and b"]


def test_texts_that_cannot_be_read_are_seen(visit: Any, tmp_path: Path) -> None:
    text = '<text x="{}" y="{}" fill="{}">{}</text>'
    near = text.format(10, 30, "#000", "one line") + text.format(40, 30, "#000", "its neighbour")
    apart = (
        text.format(10, 60, "#777", "grey")
        + text.format(10, 90, "#5f6b78", "muted")
        + text.format(180, 60, "#000", "cut off")
    )
    paper = '<path d="M0,0h200v100h-200z" fill="#f9f9f9"/>'
    page = visit(page_of(tmp_path, f"<svg width='200' height='100'>{paper}{near}{apart}</svg>"))
    assert overlapping_texts(page) == ["one line and its neighbour"]
    assert texts_cut_off(page) == ["cut off"]
    assert faint_texts(page) == ["grey: 4.3 (rgb(119, 119, 119) on rgb(249, 249, 249))", "cut off: nothing below"]


def test_a_drawing_fits_its_cards(visit: Any, tmp_path: Path) -> None:
    y, names = neuron()
    y.backward()
    page = visit(viz.draw(y, names=names, highlight=names["w2"]).save(tmp_path / "neuron.svg"))
    assert texts_outside(page) == []
    assert overlapping_cards(page) == []
