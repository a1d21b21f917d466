"""What the README shows is run, in order, in one folder; the picture beside it is what the code makes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def texts(svg: str) -> list[str]:
    """All texts of an SVG: what a reader sees, whatever the fonts and the layout engine."""
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


@pytest.mark.parametrize("code", BLOCKS)
def test_each_python_block_prints_what_its_comments_say(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pygraphviz")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    expected = re.findall(r"^(?:print\(.*\))?\s*# (.*)", code, flags=re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected
    for svg in tmp_path.glob("*.svg"):
        shown = ROOT / "docs" / "gallery" / svg.name
        assert texts(svg.read_text(encoding="utf-8")) == texts(shown.read_text(encoding="utf-8"))


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'src(?:set)?="([^"]+)"', README)
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target
    assert targets


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.skipif(os.name == "nt" or shutil.which("make") is None, reason="needs make and a shell")
def test_make_says_so_where_python_is_too_old(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old"  # a Python that says it is 3.9
    fake = "import sys; sys.version_info = (3, 9); exec(sys.argv[2])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{fake}' \"$@\"\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "demo", "PYTHON=./old"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Python 3.10 or newer is needed: make PYTHON=python3.12 demo" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_derivation_is_what_explain_prints(capsys: pytest.CaptureFixture[str]) -> None:
    neuron = BLOCKS[0].partition("viz.draw")[0]
    exec(compile(neuron + "\nprint(viz.explain(y, w2, names=locals()))", "README.md", "exec"), {})
    printed = capsys.readouterr().out.partition("\n")[2]  # the block prints a gradient first
    assert f"names=locals()))\n{printed}```" in README
