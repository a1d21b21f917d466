"""The gallery is what its code draws: pictures, printed lines and the page are those of docs/gallery/make.py."""

import importlib.util
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pygraphviz")

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
LEARNED = "What a model has learned"  # takes a minute of training, and every machine learns a little differently


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", GALLERY / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(svg: str) -> dict[str, list[float]]:
    """What a reader sees, whatever the fonts and the layout engine: the texts with their numbers apart."""
    found: dict[str, list[float]] = defaultdict(list)
    for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg):
        numbers = re.findall(r"−?\d+(?:\.\d+)?(?:e[+−-]?\d+)?", text)
        for number in numbers:
            text = text.replace(number, "#", 1)
        found[text] += [float(number.replace("−", "-")) for number in numbers]
    return found


def test_the_pictures_and_the_page_are_what_the_code_makes(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: dict[str, str] = {}
    for section, drawings in make.SECTIONS.items():
        for draw in drawings if section != LEARNED else []:
            capsys.readouterr()
            draw()
            printed[draw.__name__] = capsys.readouterr().out
            made, shown = (texts((folder / make.file(draw)).read_text("utf-8")) for folder in (Path(), GALLERY))
            assert made.keys() == shown.keys(), f"{draw.__name__}: make gallery"
            for text, numbers in made.items():
                np.testing.assert_allclose(sorted(numbers), sorted(shown[text]), rtol=0.01, atol=1e-6, err_msg=text)
    assert make.page(printed) == (GALLERY / "README.md").read_text("utf-8"), "make gallery"


def test_the_code_on_the_page_is_whole(make: ModuleType) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (GALLERY / "README.md").read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1 + len(make.SHARED) + len(make.PICTURES)
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    for block in blocks[1:]:
        compile(block, "README.md", "exec")
    assert {"np", "te", "viz", "Tensor"} <= names.keys()


def test_each_picture_is_there_once_and_small(make: ModuleType) -> None:
    files = {path.name for path in GALLERY.iterdir() if path.is_file()}
    assert files == {"make.py", "README.md", *map(make.file, make.PICTURES.values())}
    assert sum(path.stat().st_size for path in GALLERY.iterdir() if path.is_file()) < 3e6
