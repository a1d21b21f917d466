"""A training film in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.viz.test_films import trained


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(6).save(tmp_path_factory.mktemp("film") / "film.html")


def said(page: Any) -> str:
    return str(page.text_content("#said"))


def test_keys_buttons_and_the_slider(visit: Callable[..., Any], film: Path) -> None:
    page = visit(film)
    assert said(page).startswith("step 0:")
    for key, step in (("ArrowRight", 10), ("ArrowLeft", 0), ("End", 50), ("Home", 0)):
        page.keyboard.press(key)
        assert said(page).startswith(f"step {step}:")
    page.get_by_role("button", name="Next step").click()
    page.get_by_role("button", name="Previous step").click()
    assert said(page).startswith("step 0:")
    page.fill("#progress", "4")
    assert said(page).startswith("step 40:")
    page.clock.install()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.clock.run_for(500)  # two moments, or more where this machine is slow: time goes on by itself, too
    assert not said(page).startswith("step 0:")
    page.clock.run_for(5000)
    assert said(page).startswith("step 50:")
    assert page.get_attribute("#play", "aria-label") == "Play"


def pixels(page: Any, selector: str) -> str:
    return str(page.evaluate("s => document.querySelector(s).toDataURL()", selector))


def test_the_pictures_change_with_the_moment(visit: Callable[..., Any], film: Path) -> None:
    page = visit(film)
    places = (".weights canvas", ".gradients canvas", ".activations canvas", ".map canvas")
    before = [pixels(page, place) for place in places]
    page.keyboard.press("End")
    after = [pixels(page, place) for place in places]
    assert all(a != b for a, b in zip(after, before, strict=True))
    assert page.locator(".map circle").count() == 20
    blank = "Object.assign(document.createElement('canvas'), {width: 6, height: 3}).toDataURL()"
    assert pixels(page, ".attention canvas") != page.evaluate(blank)


@pytest.mark.parametrize("width", [375, 1400])
def test_it_fits_and_has_a_dark_side(visit: Callable[..., Any], film: Path, width: int) -> None:
    page = visit(film, width=width, dark=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(18, 24, 31)"
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert page.text_content("h1") == "Points <b>"
    nameless = page.eval_on_selector_all(
        "button, input, canvas", "all => all.filter(e => !e.getAttribute('aria-label')).map(e => e.outerHTML)"
    )
    assert nameless == []
