"""docs/promises.md names a test for each promise; each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
TESTS = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", PAGE)


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_test_exists(file: str, name: str) -> None:
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for part in name.split("::"):
        found = [node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == part]
        assert found, f"{file} has no {name}"
        body = found[0].body


@pytest.mark.parametrize("row", ROWS)
def test_every_promise_names_its_test(row: str) -> None:
    assert row.count(" | ") == 1
    assert re.search(r"\| `tests/[\w/]+\.py::test_\w+`|\| `tests/[\w/]+\.py::Test\w+::test_\w+`", row)
