"""What `make demo` shows: two networks learn to read digits, and pictures of how. `python -m models.demo --out out`."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence

import tinygrad_edu as te
from models import graphs
from models.command import Parser, Results, output_folder, run
from models.datasets import Dataset, digits
from models.neuron import NeuralNetwork
from models.train import History, Settings, build, fit, save


def classroom(data: Dataset) -> None:
    """Train the network that is written neuron by neuron."""
    print("1. The classroom network, neuron by neuron: 64 pixels -> 32 neurons -> 10 digits", flush=True)
    te.manual_seed(0)
    start = time.perf_counter()
    network = NeuralNetwork([data.features, 32, len(data.classes)])
    network.train(data.X_train, data.y_train, epochs=25, learning_rate=0.5)
    accuracy = (network.predict(data.X_test).argmax(axis=1) == data.y_test).mean()
    _tell(float(accuracy), data, start)


def vectorised(data: Dataset, results: Results) -> None:
    """Train the MLP, and keep what it learned."""
    settings = Settings()
    hidden = " -> ".join(map(str, settings.hidden))
    print(f"2. The MLP, a whole layer at a time: 64 pixels -> {hidden} units -> 10 digits", flush=True)
    start = time.perf_counter()
    model, history = build(data, settings), History()
    fit(model, data, settings, history)
    _tell(history.test_accuracy[-1], data, start)
    save(results, model, data, history)


def _tell(accuracy: float, data: Dataset, start: float) -> None:
    seconds = time.perf_counter() - start
    print(f"   reads {accuracy:.1%} of {len(data.y_test)} digits it has never seen, after {seconds:.1f} s", flush=True)


def demonstrate(options: Namespace) -> int:
    """Train both networks, write all pictures, and say what to look at."""
    results = Results(output_folder(options.out), "python -m models.demo")
    results.add(
        "neuron.svg",
        "one neuron with its numbers: da/dw2 is the product of the local derivatives along the marked way",
        graphs.neuron,
    )
    data = digits()
    classroom(data)
    vectorised(data, results)
    results.show()
    return int(results.failed > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        prog="python -m models.demo", description="Train two networks on handwritten digits and draw what they do."
    )
    parser.set_defaults(run=demonstrate)
    parser.add_argument("--out", default="out", metavar="DIR", help="folder for the pictures (%(default)s)")
    return run(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
