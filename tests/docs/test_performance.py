"""docs/performance.md: its example runs and prints the program it shows, and it has a place for every table."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_example_prints_the_program_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (shown,) = re.findall(r"```\n(def replay.*?)    \.\.\.\n```", PAGE, flags=re.DOTALL)
    exec(compile(code, "performance.md", "exec"), {"__name__": "performance"})
    assert capsys.readouterr().out.startswith(shown)


@pytest.mark.parametrize("name", ["machine", "times", "memory", "generation", "growth", "overhead"])
def test_there_is_a_place_for_each_table(name: str) -> None:
    assert re.search(rf"<!-- bench: {name} -->(?:(?!<!--).)*<!-- end -->", PAGE, flags=re.DOTALL)
