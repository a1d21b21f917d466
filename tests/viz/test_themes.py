"""Light, dark, and what a picture does that is either."""

import re
from dataclasses import fields

import numpy as np
import pytest

import viz
from tests.viz.reading import broadcasting, fan_out
from viz.palette import DARK, LIGHT, mix, shade
from viz.themes import pairs


def test_a_light_colour_tells_its_role() -> None:
    """Where two roles with one light colour parted in the dark, a picture could not adapt."""
    dark: dict[str, set[object]] = {}
    for field in fields(LIGHT):
        light_role, dark_role = getattr(LIGHT, field.name), getattr(DARK, field.name)
        if field.name != "categories":
            for light, other in (
                [(light_role, dark_role)] if isinstance(light_role, str) else zip(light_role, dark_role)
            ):
                dark.setdefault(light, set()).add(other)
    assert {light for light, others in dark.items() if len(others) > 1} == set()


def test_no_cell_of_a_heat_map_is_mistaken_for_a_role() -> None:
    shares = np.linspace(-1, 1, 2001)
    cells = {shade(LIGHT, share) for share in shares} | {mix(LIGHT.closed, LIGHT.open, abs(share)) for share in shares}
    assert cells.isdisjoint(pairs())


def test_the_default_adapts_to_the_reader() -> None:
    pytest.importorskip("pygraphviz")
    loss = broadcasting()
    loss.backward()
    drawing = viz.draw(loss)
    assert drawing.page.theme == "auto"
    sheet = re.search(r"@media \(prefers-color-scheme: dark\) {\n(.*)\n}\n</style>", drawing.svg, re.DOTALL)
    assert sheet is not None
    mapped = set(re.findall(r'\[(?:fill|stroke)="(#\w+)"\]', sheet[1]))
    used = set(re.findall(r'(?:fill|stroke)="(#\w+)"', drawing.svg.replace(sheet[0], "")))
    roles = {colour for colour in used if colour in pairs()}
    assert roles == mapped
    assert {LIGHT.paper, LIGHT.card, LIGHT.ink, LIGHT.value, LIGHT.gradient} <= roles
    assert "@media" in drawing.html.partition("<svg")[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_stays(theme: str) -> None:
    pytest.importorskip("pygraphviz")
    c = fan_out()
    c.backward()
    assert "@media" not in viz.draw(c, theme=theme).svg
    assert f'<html lang="en" data-theme="{theme}">' in viz.draw(c, theme=theme).html
    assert (DARK if theme == "dark" else LIGHT).paper in viz.draw(c, theme=theme).svg


def test_the_light_source_is_the_same_in_both() -> None:
    c = fan_out()
    c.backward()
    assert viz.draw(c).source == viz.draw(c, theme="light").source
