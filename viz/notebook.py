"""What a notebook shows for a tensor that was computed, once viz is imported: its graph."""

from __future__ import annotations

import sys

from tinygrad_edu.tensor import Tensor
from viz.drawing import draw
from viz.render import MissingEngineError


def show(tensor: Tensor) -> dict[str, str]:
    """The picture of the graph, with the names of the notebook's variables, and the text of the tensor."""
    text = {"text/plain": repr(tensor)}
    try:
        names = dict(vars(sys.modules["__main__"]))
        return {"image/svg+xml": draw(tensor, names=names).svg} | text
    except (MissingEngineError, TimeoutError, RuntimeError) as error:
        return {"text/plain": f"{text['text/plain']}\n({error})"}
