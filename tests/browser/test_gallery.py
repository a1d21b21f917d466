"""Every picture of the gallery, light and dark: nothing is cut off, nothing overlaps, everything can be read."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.boxes import faint_texts, overlapping_cards, overlapping_texts, texts_cut_off, texts_outside

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 24, 31)"}


@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_can_be_read(path: Path, visit: Any) -> None:
    page = visit(path, reduced=True)  # where a picture moves, its end
    assert page.locator("svg text").count() > 5
    for scheme, paper in PAPER.items():
        page.emulate_media(color_scheme=scheme)
        shape = page.locator("svg path, svg polygon").locator("visible=true").first
        assert shape.evaluate("each => getComputedStyle(each).fill") == paper
        assert texts_outside(page) == []
        assert overlapping_cards(page) == []
        assert texts_cut_off(page) == []
        assert overlapping_texts(page) == []
        assert faint_texts(page) == []


@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.html")), ids=lambda path: path.stem)
def test_a_page_can_be_read_at_its_end(path: Path, visit: Any) -> None:
    page = visit(path)
    page.keyboard.press("End")
    assert page.locator("svg text").count() > 5
    for scheme in PAPER:
        page.emulate_media(color_scheme=scheme)
        assert texts_outside(page) == []
        assert overlapping_cards(page) == []
