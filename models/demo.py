"""What `make demo` shows: networks learn to read digits and to write text, and pictures of how they do it.

`python -m models.demo --out out` runs it, with `--quick` in seconds, to see that everything works.
"""

from __future__ import annotations

import sys
import textwrap
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import command, graphs, train, train_text
from models.command import Parser, Results
from models.datasets import Dataset, digits, moons
from models.mlp import MLP
from models.neuron import NeuralNetwork
from models.text import DEFAULT, default_text, unigram_entropy
from models.train import History
from models.train_text import Training
from models.transformer import Block, TransformerConfig
from tinygrad_edu import Tensor, nn, optim

# Small enough to learn in about a minute and in a quarter of one, on two cores.
CHARACTERS = train_text.Settings(
    layers=2, heads=4, width=64, context=64, batch_size=16, steps=1200, eval_every=100, lr=4e-3, warmup=50
)
WORDS = train_text.Settings(
    tokenizer="word",
    vocabulary=1500,
    layers=1,
    heads=2,
    width=48,
    context=32,
    batch_size=32,
    steps=400,
    eval_every=100,
    lr=1e-2,
    warmup=20,
)
BEGINNING = "The value of the "  # of the text that is written
LOOK_AT = "the value of the"  # whose attention is drawn
BEFORE = "If the class is "  # what the next character is guessed after
SOME_WORDS = ("if", "True", "class", "function")  # whose neighbours are shown
SHOWN_WORDS = 120  # in the picture


# Digits --------------------------------------------------------------------------------------------------------------


def classroom(data: Dataset, epochs: int) -> None:
    """Train the network that is written neuron by neuron."""
    print("1. The classroom network, neuron by neuron: 64 pixels -> 32 neurons -> 10 digits", flush=True)
    te.manual_seed(0)
    start = time.perf_counter()
    network = NeuralNetwork([data.features, 32, len(data.classes)])
    network.train(data.X_train, data.y_train, epochs=epochs, learning_rate=0.5)
    accuracy = (network.predict(data.X_test).argmax(axis=1) == data.y_test).mean()
    _tell(float(accuracy), data, start)


def vectorised(data: Dataset, results: Results, settings: train.Settings) -> None:
    """Train the MLP, and keep what it learned."""
    hidden = " -> ".join(map(str, settings.hidden))
    print(f"2. The MLP, a whole layer at a time: 64 pixels -> {hidden} units -> 10 digits", flush=True)
    start = time.perf_counter()
    model, history = train.build(data, settings), History()
    train.fit(model, data, settings, history)
    _tell(history.test_accuracy[-1], data, start)
    train.save(results, model, data, history)
    results.add(
        "mlp.html",
        "the MLP step by step: forward, backward, one step of gradient descent",
        lambda path: graphs.mlp_backward(path, model, data),
    )
    results.add("film.html", "an MLP learns to tell two moons apart: press the space bar", film)


def film(path: Path) -> Path:
    """Record an MLP that learns: its weights, gradients and decision boundary."""
    import viz

    data = moons(seed=0)
    te.manual_seed(0)
    model = MLP([data.features, 16, 16, len(data.classes)], activation="tanh")
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    recorded = viz.film(title="An MLP learns to tell two moons apart")
    for step in range(91):
        loss = F.cross_entropy(model(Tensor(data.X_train)), data.y_train)
        model.zero_grad()
        loss.backward()
        if step % 3 == 0:
            recorded.record(model, loss, step=step, boundary=(model, data.X_train, data.y_train))
        optimizer.step()
    return recorded.save(path)


def _tell(accuracy: float, data: Dataset, start: float) -> None:
    seconds = time.perf_counter() - start
    print(f"   reads {accuracy:.1%} of {len(data.y_test)} digits it has never seen, after {seconds:.1f} s", flush=True)


# Text ----------------------------------------------------------------------------------------------------------------


def writer(results: Results, settings: train_text.Settings) -> None:
    """Train a transformer on characters, let it write, and look inside."""
    print("3. A transformer that writes, one character after the other", flush=True)
    training, unigram = _learn(settings, "character")
    ids = training.model.generate(training.tokenizer.encode(BEGINNING), 300, temperature=0.7, seed=0)
    print(f"   given {BEGINNING!r}, it writes:")
    print(textwrap.indent(training.tokenizer.decode(ids).rstrip(), "   | ", lambda line: True), flush=True)
    draw_writer(results, training, unigram)
    draw_parts(results)


def words(results: Results, settings: train_text.Settings) -> None:
    """Train a transformer on words, and ask which of them it takes for alike."""
    import viz

    print("4. A transformer that reads whole words: which of them does it use alike?", flush=True)
    training, _ = _learn(settings, "word")
    model, tokenizer = training.model, training.tokenizer
    for word in SOME_WORDS:
        if not tokenizer.missing(word):
            near = ", ".join(tokenizer.token(each.id) for each in model.nearest(word, 5, tokenizer))
            print(f"   nearest to {word}: {near}", flush=True)
    real_words = [token for token in tokenizer.tokens if token.isalpha() and len(token) > 1]
    known = real_words[:SHOWN_WORDS]  # the most frequent ones
    vectors = model.embed.weight.data[[tokenizer.ids[word] for word in known]]  # (V, E) -> (N, E)
    results.add(
        "words.svg",
        "the words of the second transformer, seen from where they spread most: do neighbours mean alike?",
        lambda path: viz.embeddings(vectors, known, title="Which words are alike").save(path),
    )


def _learn(settings: train_text.Settings, token: str) -> tuple[Training, float]:
    """A trained model, and the entropy of the frequencies of its tokens."""
    text, start = default_text(), time.perf_counter()
    training = train_text.begin(settings, text)
    unigram = unigram_entropy(training.tokenizer.encode(text))
    print(
        f"   {training.model.num_parameters():,} parameters learn from {DEFAULT}: {len(text):,} characters",
        flush=True,
    )
    train_text.fit(training, samples=False)
    print(
        f"   loss {training.record.validation[-1][1]:.2f} nats a {token} on text it has never seen, after "
        f"{time.perf_counter() - start:.0f} s; knowing only how frequent each {token} is: {unigram:.2f}",
        flush=True,
    )
    return training, unigram


def draw_writer(results: Results, training: Training, unigram: float) -> None:
    """Write the pictures of the character model."""
    import viz

    model, tokenizer, record = training.model, training.tokenizer, training.record
    V = tokenizer.vocab_size
    losses = {"training": record.losses, "validation": record.validation}
    guesses = {f"guessing evenly among {V} characters": np.log(V), "knowing how frequent each one is": unigram}
    results.add(
        "text-curve.svg",
        "the loss of the transformer falls, first to knowing how frequent each character is, then far below",
        lambda path: viz.loss_curves(
            losses, references=guesses, unit="nats per character", title="Learning to read"
        ).save(path),
    )
    results.add(
        "attention.svg",
        f"each character of {LOOK_AT!r} and the earlier ones it looks at, head by head: which head looks one back?",
        lambda path: viz.attention(model, LOOK_AT, tokenizer=tokenizer).save(path),
    )
    results.add(
        "next-token.svg",
        f"the guesses after {BEFORE!r}; the temperature makes the same model careful or daring",
        lambda path: viz.next_tokens(model, BEFORE, tokenizer=tokenizer).save(path),
    )
    results.add(
        "characters.svg",
        "the characters as the transformer sees them, unasked: do vowels, capitals and signs stand together?",
        lambda path: viz.embeddings(model.embed.weight, tokenizer.tokens, title="Which characters are alike").save(
            path
        ),
    )


def draw_parts(results: Results) -> None:
    """Write the pictures of the parts of a transformer, which need no training."""
    results.add(
        "positions.svg", "where a token stands, told by waves: quick ones to the left, slow ones after", positions
    )
    results.add(
        "block.svg", "the backward pass of one small block: each module is a box, each gradient a number", block
    )
    results.add("block.html", "the same block step by step: click on a module to fold it or to open it", block)


def positions(path: Path) -> Path:
    """Draw the waves that can tell a token where it stands."""
    import viz

    return viz.positions(nn.SinusoidalPositionalEncoding(64, 64).table, title="Where a token stands: waves").save(path)


def block(path: Path) -> Path:
    """Draw the backward pass of a tiny block."""
    te.manual_seed(0)
    config = TransformerConfig(
        vocab_size=1, context_length=4, embed_dim=8, num_heads=2, num_layers=1, mlp_ratio=2, bias=False
    )
    x = np.random.default_rng(0).normal(size=(config.context_length, config.embed_dim)).astype(np.float32)
    return graphs.block_backward(path, Block(config), x)


# The command ---------------------------------------------------------------------------------------------------------


def demonstrate(options: Namespace) -> int:
    """Train all networks, write all pictures, and say what to look at."""
    results = Results(command.output_folder(options.out), "python -m models.demo")
    try:
        with one_thread():
            show(results, options.quick)
    except KeyboardInterrupt:
        print(f"python -m models.demo: stopped; what is done so far is in {results.folder}", file=sys.stderr)
        return command.STOPPED
    results.show()
    print("train longer, on a text of your own:  python -m models.train transformer --help")
    return int(results.failed > 0)


def one_thread() -> AbstractContextManager[Any]:
    """Inside, a matrix product uses one core: small ones lose more by waiting for threads than they gain by them.

    scikit-learn, which the digits come from, brings threadpoolctl along.
    """
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def show(results: Results, quick: bool) -> None:
    """The parts of the demonstration, one after the other."""
    results.add(
        "neuron.svg",
        "one neuron with its numbers: da/dw2 is the product of the local derivatives along the marked way",
        graphs.neuron,
    )
    results.add("neuron.html", "the same neuron step by step: open it and press →", graphs.neuron)
    results.add("fan-out.html", "one tensor with three uses, step by step: their gradients add up", graphs.fan_out)
    data = digits()
    classroom(data, epochs=2 if quick else 25)
    vectorised(data, results, train.Settings(epochs=3 if quick else train.Settings.epochs))
    writer(results, shortened(CHARACTERS) if quick else CHARACTERS)
    words(results, shortened(WORDS) if quick else WORDS)


def shortened(settings: train_text.Settings) -> train_text.Settings:
    """The same for a few steps only."""
    return replace(settings, steps=20, eval_every=20, warmup=5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        prog="python -m models.demo", description="Train networks that read digits and write text; draw what they do."
    )
    parser.set_defaults(run=demonstrate)
    parser.add_argument("--out", default="out", metavar="DIR", help="folder for the pictures (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="train for moments only, to see that everything works")
    return command.run(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
