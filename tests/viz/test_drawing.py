"""Saving and showing."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import viz
from tests.viz.reading import fan_out
from tinygrad_edu import Tensor
from viz import drawing as drawings
from viz import render, stepper


@pytest.fixture
def drawing() -> viz.Drawing:
    c = fan_out()
    c.backward()
    return viz.draw(c)


@pytest.fixture
def _engine() -> None:
    pytest.importorskip("pygraphviz")


@pytest.mark.usefixtures("_engine")
@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph"), (".html", b"<!DOCTYPE html>")],
)
def test_save(drawing: viz.Drawing, tmp_path: Path, suffix: str, start: bytes) -> None:
    path = drawing.save(tmp_path / f"picture{suffix}")
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["x.gif", "x", "x.svg.zip"])
def test_an_unknown_suffix_is_an_error(drawing: viz.Drawing, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in one of \.svg, \.png, \.pdf, \.dot, \.html"):
        drawing.save(tmp_path / name)


def test_a_folder_that_is_not_there_is_one_clear_error(drawing: viz.Drawing, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere.*: No such file"):
        drawing.save(tmp_path / "nowhere" / "x.dot")


def test_a_failed_save_keeps_the_old_file(drawing: viz.Drawing, tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "x.dot"
    path.write_text("old")
    with pytest.raises(OSError, match=r"cannot write .*x\.dot: No space left on device$"):
        drawing.save(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.dot"]


def test_without_an_engine_the_source_is_there_and_save_says_what_to_install(
    drawing: viz.Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render.shutil, "which", lambda _: None)
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda _: None)
    assert drawing.source.startswith("digraph")
    drawing.save(tmp_path / "x.dot")
    with pytest.raises(viz.MissingEngineError, match=r'pip install "tinygrad_edu\[viz\]"'):
        drawing.save(tmp_path / "x.svg")
    assert drawing._repr_svg_() is None
    assert "pip install" in drawing._repr_mimebundle_()["text/plain"]


def test_without_pypi_graphviz_draw_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(viz.MissingEngineError, match="needs the Python package graphviz: pip install"):
        viz.draw(fan_out())


def test_a_layout_that_takes_too_long_or_fails_is_one_line(
    drawing: viz.Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("dot", 1)

    with monkeypatch.context() as patch:
        patch.setattr(render.subprocess, "run", late)
        with pytest.raises(TimeoutError, match="the layout took more than"):
            render.render(drawing.source, "svg")
        with pytest.raises(TimeoutError, match="the layout took more than"):
            _ = drawing.svg
    with pytest.raises(RuntimeError, match="Graphviz could not draw the picture"):
        render.render("this is no DOT", "svg")


@pytest.mark.usefixtures("_engine")
def test_where_the_layout_takes_too_long_more_is_folded_and_the_heading_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y = Tensor(1.0, requires_grad=True)
    for _ in range(100):
        y = y.sin()
    y.backward()
    drawing = viz.draw(y, budget=None)
    monkeypatch.setattr(drawings, "render", lambda source, *_: _impatient(source))
    assert len(drawing.view.nodes) == 101
    assert "the layout took more than 20 s: folded further; 77 of 100 ops are folded" in drawing.svg
    assert len(drawing.view.nodes) == 25
    assert "folded further" in drawing.source
    monkeypatch.setattr(stepper, "render", lambda source, *_: _impatient(source))
    page = viz.steps(y, budget=None).html
    assert "the layout took more than 20 s: folded further; 77 of 100 ops are folded" in page


def _impatient(source: str) -> bytes:
    if source.count("[label=<") > 30:
        raise TimeoutError("the layout took more than 20 s: draw a smaller graph")
    return render.render(source, "svg")


@pytest.mark.usefixtures("_engine")
def test_the_svg_is_one_labelled_image(drawing: viz.Drawing) -> None:
    image = ElementTree.fromstring(drawing.svg)
    name = "{http://www.w3.org/2000/svg}title"
    assert image.get("role") == "img"
    assert image.get("aria-label") == "c = a · (a + a)" == image.find(name).text
    for shown in ("6 + 3 + 3 = 12", "∂c/∂a = b"):
        assert shown in "".join(image.itertext())
    assert drawing._repr_svg_() == drawing.svg == drawing._repr_mimebundle_()["image/svg+xml"]


@pytest.mark.usefixtures("_engine")
def test_the_page_needs_nothing_else_and_tells_the_steps_in_words(drawing: viz.Drawing) -> None:
    assert "http" not in drawing.html.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert "multiply: each input receives the arriving gradient times the other input." in drawing.html
    assert "<title>c = a · (a + a)</title>" in drawing.html


@pytest.mark.usefixtures("_engine")
def test_dark_pictures_are_dark() -> None:
    c = fan_out()
    c.backward()
    assert "#12181f" in viz.draw(c, theme="dark").svg


def test_repr(drawing: viz.Drawing) -> None:
    assert repr(drawing) == "<Drawing of c = a · (a + a)>"


@pytest.mark.parametrize("show", [viz.draw, viz.steps])
@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"depth": "a"}, ValueError, "depth is a whole number of at least 0, or None, got 'a'"),
        ({"depth": -1}, ValueError, "depth is a whole number of at least 0, or None, got -1"),
        ({"budget": 0}, ValueError, "budget is a whole number of at least 1, or None, got 0"),
        ({"expand": 3}, TypeError, "expand is a name or a list of names"),
        ({"expand": [3]}, TypeError, "expand is a name or a list of names"),
        ({"collapse": 3}, TypeError, "collapse is a function of a module's scope, got 3"),
        ({"rate": "a"}, ValueError, "rate is the size of a step, above 0, such as 0.01, got 'a'"),
    ],
)
def test_options_that_are_none(show: Any, option: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        show(fan_out(), **option)


def test_a_title_may_be_anything() -> None:
    assert "1985" in viz.draw(fan_out(), title=1985).source  # type: ignore[arg-type]
