"""Every picture of the gallery, light and dark: nothing is cut off, nothing overlaps, everything can be read."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.boxes import faint_texts, overlapping_cards, overlapping_texts, texts_cut_off, texts_outside

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_can_be_read(path: Path, dark: bool, visit: Any) -> None:
    page = visit(path, dark=dark)
    assert page.locator("svg text").count() > 5
    assert texts_outside(page) == []
    assert overlapping_cards(page) == []
    assert texts_cut_off(page) == []
    assert overlapping_texts(page) == []
    assert faint_texts(page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.html")), ids=lambda path: path.stem)
def test_a_page_can_be_read_at_its_end(path: Path, dark: bool, visit: Any) -> None:
    page = visit(path, dark=dark)
    page.keyboard.press("End")
    assert page.locator("svg text").count() > 5
    assert texts_outside(page) == []
    assert overlapping_cards(page) == []
