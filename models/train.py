"""Train a model from the command line: `python -m models.train mlp --data digits --epochs 30 --out out/mlp`.

The subcommand `mlp` is in this file, `transformer` in models/train_text.py.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import command, datasets, graphs, train_text
from models.command import Parser, Results, UserError
from models.datasets import Dataset
from models.mlp import ACTIVATIONS, MLP
from models.progress import Progress
from tinygrad_edu import Tensor, optim
from tinygrad_edu.data import batches

if TYPE_CHECKING:
    import viz
from tinygrad_edu.files import replacing


@dataclass(frozen=True)
class Settings:
    """How an MLP is built and trained."""

    hidden: tuple[int, ...] = (128, 64)  # units in each hidden layer
    activation: str = "relu"  # between the layers
    epochs: int = 30  # passes over the training samples
    batch_size: int = 32  # samples in each step
    lr: float = 3e-3  # step length of AdamW at the start; it falls to 0 along a cosine
    weight_decay: float = 0.01  # pull of the weights towards zero
    label_smoothing: float = 0.1  # share of each target that goes to the other classes: be sure, but not too sure
    seed: int = 0  # of the split into training and test, the first weights and the order of the samples


@dataclass
class History:
    """What was measured after each epoch."""

    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.train_loss)


# Training ----------------------------------------------------------------------------------------------------------


def build(data: Dataset, settings: Settings) -> MLP:
    """A fresh MLP for the data; the seed starts all random numbers of the run."""
    te.manual_seed(settings.seed)
    return MLP([data.features, *settings.hidden, len(data.classes)], settings.activation)


def fit(model: MLP, data: Dataset, settings: Settings, history: History) -> None:
    """Minimise the cross-entropy with AdamW. The history grows epoch by epoch, so that it survives an interruption."""
    optimizer = optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    steps = -(-len(data.y_train) // settings.batch_size) * settings.epochs  # an epoch's last batch may be smaller
    schedule = optim.CosineLR(optimizer, total_steps=steps)
    with Progress(settings.epochs) as progress:
        for epoch in range(1, settings.epochs + 1):
            for X, y in batches(data.X_train, data.y_train, batch_size=settings.batch_size):
                logits = model(Tensor(X))  # (B, D) -> (B, C)
                loss = F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing)  # (B, C) -> ()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            measure(model, data, history)
            if not np.isfinite(history.train_loss[-1]):
                raise UserError(
                    f"the loss is not a number any more in epoch {epoch}: try an --lr below {settings.lr:g}"
                )
            progress.step(f"loss {history.train_loss[-1]:.4f}  accuracy {history.test_accuracy[-1]:.1%}")


def measure(model: MLP, data: Dataset, history: History) -> None:
    """Note how good the model is now."""
    train_loss, _ = evaluate(model, data.X_train, data.y_train)
    test_loss, test_accuracy = evaluate(model, data.X_test, data.y_test)
    history.train_loss.append(train_loss)
    history.test_loss.append(test_loss)
    history.test_accuracy.append(test_accuracy)


def evaluate(model: MLP, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The mean cross-entropy on samples (N, D), and the share of them that the model gets right."""
    with te.no_grad():
        logits = model(Tensor(X))  # (N, D) -> (N, C)
    right = logits.data.argmax(axis=1) == y
    return float(F.cross_entropy(logits, y).item()), float(right.mean())


def predict(model: MLP, X: np.ndarray) -> np.ndarray:
    """The probability of each class: (N, D) -> (N, C)."""
    with te.no_grad():
        return F.softmax(model(Tensor(X, dtype=np.float32))).data


# What is kept ------------------------------------------------------------------------------------------------------


def save(results: Results, model: MLP, data: Dataset, history: History, form: str = "svg") -> None:
    """Write the weights, and pictures of what was learned."""
    results.add(
        "weights.npz",
        "the weights as arrays; model.load_state_dict(np.load(path)) takes them back",
        lambda path: save_weights(path, model),
    )
    results.add(
        f"curve.{form}",
        "the loss falls and the accuracy rises; the gap between the two losses is what was learned by heart",
        lambda path: draw_curves(history).save(path),
    )
    if data.image is not None:
        results.add(
            f"predictions.{form}",
            "test digits and how the model reads them; the framed ones are wrong: would you have read them?",
            lambda path: draw_predictions(model, data).save(path),
        )
    if data.features == 2:
        results.add(
            f"boundary.{form}",
            "the colour of a place says which class the model expects there; the dots are the test samples",
            lambda path: draw_boundary(model, data).save(path),
        )
    results.add(
        f"mlp.{form}",
        "the backward pass of two samples: from the loss, a gradient flows back to every weight",
        lambda path: graphs.mlp_backward(path, model, data),
    )


def save_weights(path: Path, model: MLP) -> None:
    """The state of the model as an .npz file of plain arrays."""
    with replacing(path) as file:
        np.savez(file, **model.state_dict())  # type: ignore[arg-type]  # the names of parameters are no options of savez


def draw_curves(history: History) -> viz.Chart:
    """The losses and the accuracy, epoch by epoch."""
    import viz

    losses = {"training": history.train_loss, "test": history.test_loss}
    accuracies = {"test": history.test_accuracy}
    return viz.loss_curves(losses, accuracies=accuracies, step="epoch", unit="nats (cross-entropy)", title="Learning")


def draw_predictions(model: MLP, data: Dataset) -> viz.Chart:
    """The test samples as images, with what the model makes of them."""
    import viz

    assert data.image is not None
    names = np.array(data.classes)
    guesses = predict(model, data.X_test).argmax(axis=1)  # (M, D) -> (M,)
    images = data.X_test.reshape(-1, *data.image)  # (M, D) -> (M, H, W)
    return viz.predictions(images, names[data.y_test].tolist(), names[guesses].tolist())


def draw_boundary(model: MLP, data: Dataset) -> viz.Chart:
    """The test samples (M, 2) in the plane, and where the model draws the line between their classes."""
    import viz

    return viz.decision_boundary(model, data.X_test, data.y_test, classes=data.classes)


# The command -------------------------------------------------------------------------------------------------------


def load(name: str, seed: int) -> Dataset:
    """The data set of this name, or the file."""
    if name == "digits":
        return datasets.digits(seed)
    if name == "moons":
        return datasets.moons(seed=seed)
    if name.endswith(".npz"):
        return datasets.from_npz(name, seed)
    raise UserError(f"--data: expected digits, moons or a file that ends with .npz, got {name!r}")


def train_mlp(options: Namespace) -> int:
    """Load, train, save; Ctrl-C or SIGTERM ends the training early and saves what there is."""
    settings = Settings(**{each.name: getattr(options, each.name) for each in fields(Settings)})
    data = load(options.data, settings.seed)
    results = Results(command.output_folder(options.out), "python -m models.train mlp")
    model, history = build(data, settings), History()
    layers = " -> ".join(map(str, (data.features, *settings.hidden, len(data.classes))))
    print(f"data {data.name}: {len(data.y_train)} training samples, {len(data.y_test)} test samples")
    print(f"MLP {layers}: {model.num_parameters():,} parameters", flush=True)
    start, code = time.perf_counter(), 0
    try:
        with np.errstate(all="ignore"):  # fit itself reports a loss that is not a number
            fit(model, data, settings, history)
    except KeyboardInterrupt:
        code = command.STOPPED
        if not len(history):
            raise  # nothing worth replacing an older file with
        print(f"stopped after epoch {len(history)} of {settings.epochs}; saving what there is", file=sys.stderr)
    print(f"test accuracy {history.test_accuracy[-1]:.1%} after {time.perf_counter() - start:.1f} s")
    save(results, model, data, history, options.format)
    results.show()
    return code or int(results.failed > 0)


def add_mlp(models: Any) -> None:
    """The subcommand `mlp`."""
    default, count = Settings(), command.whole_number(1)
    mlp = models.add_parser("mlp", help="a multi-layer perceptron", description="Train an MLP to tell classes apart.")
    mlp.set_defaults(run=train_mlp, **vars(default))
    add = mlp.add_argument
    add("--data", default="digits", help="digits, moons, or a FILE.npz with arrays X (N, D) and y (N,)")
    add("--out", default="out/mlp", metavar="DIR", help="folder for weights and pictures (%(default)s)")
    add("--format", choices=("svg", "png"), default="svg", help="of the pictures (%(default)s)")
    add("--hidden", type=command.sizes, metavar="N,M", help="units in the hidden layers (128,64)")
    add("--activation", choices=ACTIVATIONS, metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (%(default)s)")
    add("--epochs", type=count, metavar="N", help="passes over the training samples (%(default)s)")
    add("--batch-size", type=count, metavar="N", help="samples in each step (%(default)s)")
    add("--lr", type=command.positive, metavar="STEP", help="learning rate at the start (%(default)s)")
    add("--weight-decay", type=command.share, metavar="W", help="pull of the weights towards zero (%(default)s)")
    add("--label-smoothing", type=command.share, metavar="S", help="share of other classes in a target (%(default)s)")
    add("--seed", type=command.whole_number(0), metavar="N", help="of everything random (%(default)s)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: one subcommand for each model."""
    parser = Parser(prog="python -m models.train", description="Train a model, and see what it learned.")
    models = parser.add_subparsers(title="models", required=True, metavar="MODEL")
    add_mlp(models)
    train_text.add_transformer(models)
    return command.run(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
