"""The pictures of a training are drawn whatever the classes are called."""

from pathlib import Path

import numpy as np
import pytest

from models import pictures


def test_a_class_whose_sign_no_font_has(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path, X = tmp_path / "boundary.svg", np.array([[0.0, 0.0], [1.0, 1.0]])
    pictures.decision_boundary(path, lambda X: np.full((len(X), 2), 0.5), X, np.array([0, 1]), ("🍐", "<apple $&"))
    assert path.read_text(encoding="utf-8").rstrip().endswith("</svg>")
