"""Draws the gallery: `make gallery`, or `python docs/gallery/make.py [FOLDER [NAME ...]]`.

Each function under "Pictures" draws one picture into the folder it runs in. README.md shows them with their docstrings
and their code, cut from here, so that what is read there is what ran.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# Imports of the pictures
import numpy as np

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter

# Pictures -----------------------------------------------------------------------------------------------------------


def neuron() -> None:
    """A neuron. Read the orange arrows upwards: the gradient that arrives × the local derivative = the one passed on.

    The thick ones lead to w₂, and the card at the side multiplies the factors along them.
    """
    w1, w2, b = Parameter(0.2355), Parameter(0.0665), Parameter(0.0)
    x1, x2 = Tensor(1.0), Tensor(-2.0)

    z = w1 * x1 + w2 * x2 + b  # a neuron: the weighted sum of its inputs, and a bias
    y = z.relu()
    y.backward()

    viz.draw(y, names=locals(), highlight=w2).save("neuron.svg")


def fan_out() -> None:
    """One tensor, three uses. What arrives from each use is added up: 6 + 3 + 3 = 12."""
    a = Parameter(3.0)
    b = a + a
    c = a * b
    c.backward()

    viz.draw(c, names=locals()).save("fan_out.svg")


def diamond() -> None:
    """Two ways from x to y. The derivation has a column for each way; the larger share is drawn thickest."""
    x = Tensor(3.0, requires_grad=True)
    left, right = 2.0 * x, x + 1.0
    y = left * right
    y.backward()

    viz.draw(y, names=locals(), highlight=x).save("diamond.svg")
    print(viz.explain(y, x, names=locals()))


def broadcasting() -> None:
    """Broadcasting, undone. A bias that was added to every row gets the sum of the gradients of all rows."""
    x = Tensor(np.arange(6.0).reshape(3, 2))
    scale = Parameter(np.array(0.5))
    bias = Parameter(np.array([1.0, -1.0]))
    m = x * scale  # (3, 2) * () -> (3, 2)
    a = m + bias  # (3, 2) + (2,) -> (3, 2)
    loss = (a * a).sum()
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals()).save("broadcasting.svg")


def mlp() -> None:
    """An MLP. Modules are boxes, larger tensors heat maps; a gate is dark where a relu lets no gradient pass.

    Two modules are opened, the others are folded: how much of the gradient gets through each of them is still said.
    """
    from models import MLP

    te.manual_seed(75)
    mlp = MLP([2, 16, 16, 1])
    x = Tensor(np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32))
    target = Tensor(np.sin(x.data.sum(axis=1, keepdims=True)))
    prediction = mlp(x)  # (16, 2) -> (16, 1)
    loss = F.mse_loss(prediction, target)
    loss.backward(retain_grads=True)

    opened = ["layers.0", "layers.1"]
    viz.draw(loss, names=locals(), depth=1, expand=opened, title="The backward pass of an MLP").save("mlp.svg")


def masked_softmax() -> None:
    """A masked softmax. What is masked gets the weight 0, and no gradient."""
    scores = Parameter(np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32))
    hidden = ~np.tri(4, dtype=bool)  # nobody looks at what is still to come
    values = Tensor(np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32))
    masked = scores.masked_fill(hidden, -np.inf)
    A = F.softmax(masked)
    y = A @ values  # (4, 4) @ (4, 2) -> (4, 2)
    loss = (y * y).sum()
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals()).save("masked_softmax.svg")


def attention_head() -> None:
    """One attention head, opened. Each token weighs the tokens before it; what is masked gets no weight."""
    te.manual_seed(0)
    head = nn.SelfAttention(embed_dim=8, head_dim=4, bias=False)
    x = Tensor(np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32), requires_grad=True)
    y = head(x, is_causal=True)  # (T, E) -> (T, D)
    loss = F.mse_loss(y, np.zeros((5, 4), dtype=np.float32))
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals(), title="One attention head, backwards").save("attention_head.svg")


def block() -> None:
    """A transformer block. Attention is opened down to its modules, the rest stays folded."""
    from models.transformer import Block, TransformerConfig

    te.manual_seed(0)
    plan = TransformerConfig(vocab_size=1, context_length=6, embed_dim=12, num_heads=4, num_layers=1, bias=False)
    block = Block(plan)
    x = Tensor(np.random.default_rng(0).normal(size=(6, 12)).astype(np.float32), requires_grad=True)
    output = block(x)  # (T, E) -> (T, E)
    loss = F.mse_loss(output, np.zeros((6, 12), dtype=np.float32))
    loss.backward(retain_grads=True)

    title = "One transformer block: T = 6, E = 12, 4 heads"
    viz.draw(loss, names=locals(), depth=1, expand=["block.attention"], title=title).save("block.svg")


def folded_stack() -> None:
    """Twelve blocks, folded. One card stands for all of them, with the norm of the gradient in each."""
    from models import Transformer, TransformerConfig

    te.manual_seed(0)
    config = TransformerConfig(vocab_size=96, context_length=32, embed_dim=96, num_heads=12, num_layers=12)
    model = Transformer(config)
    ids = np.random.default_rng(0).integers(96, size=(2, 33))
    loss = F.cross_entropy(model(ids[:, :-1]), ids[:, 1:], axis=-1)  # (2, 32, 96), (2, 32) -> ()
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals(), depth=1, title="A GPT with twelve blocks").save("folded_stack.svg")


def opened_op() -> None:
    """A fused op, opened. Softmax is one fast kernel; its definition in simpler ops has the same gradient."""
    scores = Parameter(np.array([2.0, 1.0, -1.0]))
    p = F.softmax(scores)
    loss = -p[0].log()  # how surprised the model is that the answer was the first one
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals(), expand="softmax").save("opened_op.svg")


def double_backward() -> None:
    """The backward pass, backwards. With create_graph=True a gradient has a graph of its own, as anything else has."""
    x = Parameter(3.0)
    y = x * x
    (slope,) = te.grad(y, [x], create_graph=True)  # 2 x
    slope.backward()  # 2

    viz.draw(slope, names=locals(), title="The derivative of the derivative of x²").save("double_backward.svg")


def dead_relu() -> None:
    """Dead units. A unit that no example opens learns nothing; the picture says so, with a sign and in words."""
    te.manual_seed(0)
    layer = nn.Linear(3, 12)
    layer.bias.data[:4] -= 5  # four units that nothing will open
    x = Tensor(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
    h = layer(x).relu()  # (6, 3) -> (6, 12)
    loss = (h * h).mean()
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals()).save("dead_relu.svg")


def first_nan() -> None:
    """Where a NaN was born. Only the op that made it is flagged, not all those that it spoiled."""
    x = Parameter(np.array([5.0, 2.0, 0.25]))
    with np.errstate(invalid="ignore"):  # NumPy would warn
        root = (x - 1.0).sqrt()  # of 0.25 - 1
    y = 2.0 * root
    loss = y.sum()
    loss.backward(retain_grads=True)

    viz.draw(loss, names=locals()).save("first_nan.svg")


def one_to_the_next() -> None:
    """The backward pass as it happens. The picture moves by itself, without a script."""
    x = Parameter(0.5)
    h = x.tanh()
    y = h * h
    y.backward(retain_grads=True)

    viz.draw(y, names=locals()).save("one_to_the_next.animated.svg")


def neuron_steps() -> None:
    """A neuron learns. Forward, backward, and one step of gradient descent, at your pace."""
    w1, w2, b = Parameter(0.2355), Parameter(0.0665), Parameter(0.0)
    x1, x2, target = Tensor(1.0), Tensor(-2.0), Tensor(1.0)
    y = (w1 * x1 + w2 * x2 + b).relu()
    loss = (y - target) ** 2
    loss.backward()

    viz.steps(loss, names=locals(), rate=0.05).save("neuron_steps.html")


def fan_out_steps() -> None:
    """One tensor, three uses, step by step. Watch its gradient arrive in three parts."""
    a = Parameter(3.0)
    b = a + a
    c = a * b
    c.backward()

    viz.steps(c, names=locals()).save("fan_out_steps.html")


def mlp_steps() -> None:
    """An MLP that reads digits, step by step. A click on a module folds it, and another one opens it."""
    from models import MLP
    from models.datasets import digits

    te.manual_seed(3)
    model, data = MLP([64, 16, 10]), digits(seed=0)
    x, labels = Tensor(data.X_train[:4]), data.y_train[:4]
    loss = F.cross_entropy(model(x), labels)
    loss.backward(retain_grads=True)

    viz.steps(loss, names=locals(), title="An MLP reads four digits", rate=0.05).save("mlp_steps.html")


def block_steps() -> None:
    """A transformer block, step by step. It begins folded: ] opens everything, / finds a card."""
    from models.transformer import Block, TransformerConfig

    te.manual_seed(0)
    plan = TransformerConfig(vocab_size=1, context_length=4, embed_dim=8, num_heads=2, num_layers=1, bias=False)
    block = Block(plan)
    x = Tensor(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32), requires_grad=True)
    output = block(x)  # (T, E) -> (T, E)
    loss = F.mse_loss(output, np.zeros((4, 8), dtype=np.float32))
    loss.backward(retain_grads=True)

    title = "One transformer block: T = 4, E = 8, 2 heads"
    viz.steps(loss, names=locals(), depth=1, title=title).save("block_steps.html")


# Charts: a transformer learns to write ------------------------------------------------------------------------------


@cache
def trained() -> tuple[Any, ...]:
    """A small transformer that has read the Python language reference for about a minute."""
    from models import demo, train_text
    from models.text import default_text, unigram_entropy

    text = default_text()
    training = train_text.begin(demo.CHARACTERS, text)
    train_text.fit(training, samples=False)
    unigram = unigram_entropy(training.tokenizer.encode(text))
    return training.model, training.tokenizer, training.record, unigram


def loss_curves() -> None:
    """Loss curves. The dashed lines are what guessing costs, evenly or by how frequent each character is."""
    _, tokenizer, record, unigram = trained()
    losses = {"training": record.losses, "validation": record.validation}
    guesses = {"guessing evenly": np.log(tokenizer.vocab_size), "knowing how frequent each one is": unigram}

    viz.loss_curves(losses, references=guesses, unit="nats per character").save("loss_curves.svg")


def attention() -> None:
    """Attention, head by head. Which head looks one character back, and which one to where the word begins?"""
    model, tokenizer, _, _ = trained()

    viz.attention(model, "the value of the", tokenizer=tokenizer).save("attention.svg")


def next_tokens() -> None:
    """The next token. The same model at three temperatures."""
    model, tokenizer, _, _ = trained()

    viz.next_tokens(model, "If the class is ", tokenizer=tokenizer).save("next_tokens.svg")


def embeddings() -> None:
    """Embeddings. In the plane in which they vary most; nobody told the model what a vowel is."""
    model, tokenizer, _, _ = trained()

    viz.embeddings(model.embed.weight, tokenizer.tokens, title="Which characters are alike").save("embeddings.svg")


def positions() -> None:
    """Positional encodings. Waves tell where a token stands, quick ones to the left and slow ones to the right."""
    table = nn.SinusoidalPositionalEncoding(64, 64).table

    viz.positions(table).save("positions.svg")


def decision_boundary() -> None:
    """A decision boundary. An MLP has learned to tell two moons apart."""
    from models import train
    from models.datasets import moons

    data = moons(seed=0)
    settings = train.Settings(hidden=(32, 32), epochs=30, label_smoothing=0)
    model, history = train.build(data, settings), train.History()
    train.fit(model, data, settings, history)

    viz.decision_boundary(model, data.X_test, data.y_test, classes=data.classes).save("decision_boundary.svg")


# The page -----------------------------------------------------------------------------------------------------------

SECTIONS: dict[str, list[Callable[[], None]]] = {
    "Number by number": [neuron, fan_out, diamond, double_backward],
    "Tensors": [broadcasting, masked_softmax, opened_op],
    "Models": [mlp, attention_head, block, folded_stack],
    "Step by step": [one_to_the_next, neuron_steps, fan_out_steps, mlp_steps, block_steps],
    "What went wrong": [dead_relu, first_nan],
    "What a model has learned": [loss_curves, attention, next_tokens, embeddings, positions, decision_boundary],
}
SHARED = {"What a model has learned": trained}  # code that several pictures of a section use
PICTURES = {draw.__name__: draw for section in SECTIONS.values() for draw in section}
HEAD = """\
# Gallery

Every picture here was drawn by the code below it: `make gallery` runs [make.py](make.py), which writes the pictures and
this page. They are light or dark as your browser prefers. All of them begin with

```python
{imports}
```
"""


def page(printed: dict[str, str]) -> str:
    """The README of the gallery: each picture with its text, its code, and what that printed."""
    parts = [HEAD.format(imports=imports())]
    for section, drawings in SECTIONS.items():
        parts.append(f"## {section}\n")
        if section in SHARED:
            parts.append(f"```python\n{textwrap.dedent(inspect.getsource(SHARED[section])).strip()}\n```\n")
        for draw in drawings:
            heading, text = words(draw)
            parts.append(f"### {heading}\n\n{text}\n".replace("\n\n\n", "\n"))
            parts.append(f"{link(heading, file(draw))}\n\n```python\n{code(draw)}\n```\n")
            if printed.get(draw.__name__):
                parts.append(f"```text\n{printed[draw.__name__].rstrip()}\n```\n")
    return "\n".join(parts)


def file(draw: Callable[[], None]) -> str:
    """The name of the file that a function writes."""
    name: str = re.findall(r'\.save\("([^"]+)"\)', code(draw))[-1]
    return name


def link(heading: str, name: str) -> str:
    """A picture is shown; a page, which GitHub does not show, is to be downloaded."""
    if name.endswith(".svg"):
        return f"![{heading}]({name})"
    return f"[{name}]({name}) is one file without a network: download it, open it in a browser, and press →."


def words(draw: Callable[[], None]) -> tuple[str, str]:
    """The heading of a picture and the text below it: the first sentence of the docstring, and the others."""
    text = inspect.cleandoc(draw.__doc__ or "")
    heading, _, rest = text.partition(". ") if ". " in text.partition("\n")[0] else (text.rstrip("."), "", "")
    return heading, rest


def code(draw: Callable[[], None]) -> str:
    """The body of a function, without its docstring."""
    source = textwrap.dedent(inspect.getsource(draw))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return textwrap.dedent("\n".join(source.splitlines()[function.body[1].lineno - 1 :])).strip()


def imports() -> str:
    """The imports that the code of the pictures takes for granted."""
    source = Path(__file__).read_text(encoding="utf-8")
    return source.partition("# Imports of the pictures\n")[2].partition("\n\n# Pictures")[0].strip()


def main(arguments: list[str]) -> None:
    """Draw all pictures, or those that are named, and write the page if all were drawn."""
    folder, chosen = Path(arguments[0]) if arguments else Path(__file__).parent, arguments[1:]
    folder.mkdir(parents=True, exist_ok=True)
    home, printed = Path.cwd(), {}
    os.chdir(folder)
    try:
        for name in chosen or PICTURES:
            print(f"{name} ...", file=sys.stderr)
            with contextlib.redirect_stdout(io.StringIO()) as output:
                PICTURES[name]()
            printed[name] = output.getvalue()
        if not chosen:
            Path("README.md").write_text(page(printed), encoding="utf-8")
    finally:
        os.chdir(home)


if __name__ == "__main__":
    main(sys.argv[1:])
