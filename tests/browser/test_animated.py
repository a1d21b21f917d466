"""The SVG that moves without a script, in a real browser."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import viz
from tests.browser.boxes import texts_outside
from tests.viz.reading import neuron

pytest.importorskip("pygraphviz")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    y, names = neuron()
    y.backward()
    return viz.draw(y, names=names).save(tmp_path_factory.mktemp("animated") / "neuron.animated.svg")


def at(page: Any, seconds: float) -> None:
    """Hold all animations at a moment."""
    page.evaluate(
        "at => document.getAnimations().forEach(a => { a.pause(); a.currentTime = at * 1000; })",
        seconds,
    )


def opacity(page: Any, identity: str) -> float:
    return float(page.evaluate(f"getComputedStyle(document.getElementById('{identity}')).opacity"))


def test_gradients_appear_one_after_the_other(visit: Callable[..., Any], picture: Path) -> None:
    page = visit(picture)
    said = page.eval_on_selector_all(".said", "all => all.map(each => each.textContent)")
    assert len(said) == 7
    at(page, 0.1)
    assert [opacity(page, each) for each in ("a_c-op9-0", "a_c-op5-0", "b-op5-0", "said0", "said1")] == [0, 0, 0, 1, 0]
    at(page, 3.2 * 2.9)
    assert [opacity(page, each) for each in ("a_c-op9-0", "a_c-op8-1", "a_c-op7-0", "said2")] == [1, 1, 0, 1]
    width = "getComputedStyle(document.querySelector('#op8 path[fill=none]')).strokeWidth"
    assert page.evaluate(width) == "4px"
    at(page, 3.2 * 6.5)
    assert [opacity(page, each) for each in ("a_c-op5-0", "b-op5-0", "a_g-t0", "said6")] == [1, 1, 1, 1]
    assert page.evaluate(width) == "1px"


def test_without_motion_it_is_the_finished_picture(visit: Callable[..., Any], picture: Path) -> None:
    page = visit(picture, reduced=True)
    assert page.evaluate("document.getAnimations().length") == 0
    assert [opacity(page, each) for each in ("a_c-op5-0", "a_g-t0", "said6", "said0")] == [1, 1, 1, 0]


def test_it_turns_dark_and_nothing_leaves_its_card(visit: Callable[..., Any], picture: Path) -> None:
    page = visit(picture, dark=True)
    assert page.evaluate("getComputedStyle(document.getElementById('said0')).fill") == "rgb(230, 235, 240)"
    assert texts_outside(page) == []
    frame = page.evaluate("document.documentElement.getBoundingClientRect().width")
    assert (
        page.evaluate("Math.max(...[...document.querySelectorAll('.said')].map(e => e.getBoundingClientRect().right))")
        < frame
    )


def test_there_is_no_script_and_it_is_well_formed(picture: Path) -> None:
    source = picture.read_text(encoding="utf-8")
    assert "<script" not in source
    assert ElementTree.fromstring(source).get("role") == "img"
    assert picture.stat().st_size < 100_000


def test_before_backward_it_stands_still() -> None:
    y, names = neuron()
    drawing = viz.draw(y, names=names)
    assert drawing.animated.count("@keyframes") == 1, "it says once why"
