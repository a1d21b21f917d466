"""Pictures of computation graphs: the picture is the chain rule, with its numbers. And charts of what models learn.

`viz.draw(loss).save("loss.svg")` draws what `loss` was computed from: one card per op, the local rule of each input and
its numbers on top of the card, values flowing down, gradients flowing up. `viz.attention(model, tokens)` and the other
charts show what is in a model. All pictures can be saved, are shown by notebooks, and are light or dark.
"""

from tinygrad_edu.tensor import Tensor
from viz import notebook
from viz.chart import Chart
from viz.drawing import Drawing, draw, steps
from viz.explain import explain
from viz.films import Film, film
from viz.language import attention, embeddings, next_tokens, positions
from viz.learning import decision_boundary, loss_curves, predictions
from viz.render import MissingEngineError
from viz.stepper import Steps
from viz.tree import tree

__all__ = [
    "Chart",
    "Drawing",
    "Film",
    "MissingEngineError",
    "Steps",
    "attention",
    "decision_boundary",
    "draw",
    "embeddings",
    "explain",
    "film",
    "loss_curves",
    "next_tokens",
    "positions",
    "predictions",
    "steps",
    "tree",
]

Tensor.show_graph = notebook.show
