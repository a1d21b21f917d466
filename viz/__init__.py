"""Pictures of computation graphs: the picture is the chain rule, with its numbers.

`viz.draw(loss).save("loss.svg")` draws what `loss` was computed from: one card per op, the local rule of each input and
its numbers on top of the card, values flowing down, gradients flowing up.
"""

from viz.drawing import Drawing, draw
from viz.explain import explain
from viz.render import MissingEngineError
from viz.tree import tree

__all__ = ["Drawing", "MissingEngineError", "draw", "explain", "tree"]
