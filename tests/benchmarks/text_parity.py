"""Does our transformer learn as well as PyTorch's? The same model, text, batches and hyper-parameters, side by side.

    python -m tests.benchmarks.text_parity [--steps 2000] [--out docs]

A character model of 4 layers, 4 heads, width 128 and context 64 is trained on the default text with batches of 12, once
with tinygrad_edu and once with PyTorch, from equal initial weights. Only the frameworks differ. Writes the validation
curves as a picture and a table, and the time of a training step as a ratio of the two, measured in turn.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn as tnn

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models.text import Corpus, default_text, fixed_batches, random_batch, unigram_entropy
from models.tokenizer import CharTokenizer
from models.transformer import Transformer, TransformerConfig
from tests.benchmarks.torch_transformer import TorchTransformer
from tinygrad_edu import optim

CONTEXT, BATCH, LEARNING_RATE, WARMUP, CLIP, WEIGHT_DECAY = 64, 12, 1e-3, 100, 1.0, 0.1


Step = Callable[[np.ndarray, np.ndarray, float], None]
Loss = Callable[[np.ndarray, np.ndarray], float]


def ours(model: Transformer) -> tuple[Step, Loss]:
    """One training step, and the loss of a batch, in tinygrad_edu."""
    optimizer = optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY)

    def step(x: np.ndarray, y: np.ndarray, rate: float) -> None:
        optimizer.groups[0]["lr"] = rate
        optimizer.zero_grad()
        F.cross_entropy(model(x), y, axis=-1).backward()
        optim.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    def loss(x: np.ndarray, y: np.ndarray) -> float:
        with te.no_grad():
            return float(F.cross_entropy(model(x), y, axis=-1).item())

    return step, loss


def theirs(model: TorchTransformer) -> tuple[Step, Loss]:
    """The same in PyTorch."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY)

    def mean_loss(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
        return tnn.functional.cross_entropy(model(torch.tensor(x)).flatten(0, 1), torch.tensor(y).flatten())

    def step(x: np.ndarray, y: np.ndarray, rate: float) -> None:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        mean_loss(x, y).backward()
        tnn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    def loss(x: np.ndarray, y: np.ndarray) -> float:
        with torch.no_grad():
            return mean_loss(x, y).item()

    return step, loss


def compare(steps: int, every: int) -> dict[str, Any]:
    """Train both, step by step in turn on the same batches, and return curves and times."""
    te.manual_seed(0)
    tokenizer = CharTokenizer.of(default_text())
    corpus = Corpus.of(default_text(), tokenizer, CONTEXT)
    config = TransformerConfig(tokenizer.vocab_size, CONTEXT, embed_dim=128, num_heads=4, num_layers=4)
    model, twin = Transformer(config), TorchTransformer(config)
    twin.load_state_dict({name: torch.tensor(value) for name, value in model.state_dict().items()})
    sides = {"tinygrad_edu": ours(model), "PyTorch": theirs(twin)}
    rates = optim.CosineLR(optim.SGD([te.Tensor(0.0)], LEARNING_RATE), steps, WARMUP, final=0.1)  # the same for both
    validation = fixed_batches(corpus.validation, 64, CONTEXT, limit=512)

    curves: dict[str, list[float]] = {name: [] for name in sides}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(steps + 1):
        if number % every == 0:
            for name, (_, loss) in sides.items():
                curves[name].append(float(np.mean([loss(x, y) for x, y in validation])))
            print(number, {name: round(curve[-1], 4) for name, curve in curves.items()}, flush=True)
        if number == steps:
            break
        x, y = random_batch(corpus.train, BATCH, CONTEXT)
        for name, (step, _) in sides.items():
            start = time.perf_counter()
            step(x, y, rates.optimizer.groups[0]["lr"])
            times[name].append(time.perf_counter() - start)
        rates.step()
    entropy = unigram_entropy(corpus.train)
    return {"steps": list(range(0, steps + 1, every)), "curves": curves, "times": times, "entropy": entropy}


def picture(result: dict[str, Any], path: Path) -> None:
    """Both curves over each other, and the loss of knowing only how frequent each character is."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "parity", "font.size": 11})
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, curve), style in zip(result["curves"].items(), ("-", "--"), strict=True):
        color = "#b8480a" if name == "PyTorch" else "#0067a5"
        axes.plot(result["steps"], curve, style, color=color, label=f"{name}: {curve[-1]:.3f} at the end", linewidth=2)
    axes.axhline(result["entropy"], color="#5f6b78", linewidth=1)
    axes.text(result["steps"][-1], result["entropy"], "unigram entropy", ha="right", va="bottom", color="#5f6b78")
    axes.set(xlabel="training step", ylabel="validation loss in nats per character")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def table(result: dict[str, Any]) -> str:
    """The curves as Markdown."""
    rows = zip(result["steps"], *result["curves"].values(), strict=True)
    lines = [f"| {step} | {a:.4f} | {b:.4f} | {a - b:+.4f} |" for step, a, b in rows]
    return "\n".join(["| step | tinygrad_edu | PyTorch | difference |", "|---:|---:|---:|---:|", *lines])


def main() -> None:
    """Run the comparison and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    result = compare(arguments.steps, arguments.every)
    (arguments.out / "pictures").mkdir(parents=True, exist_ok=True)
    picture(result, arguments.out / "pictures" / "parity.svg")
    ratio = median(a / b for a, b in zip(*result["times"].values(), strict=True))
    milliseconds = {name: f"{1000 * median(values):.0f} ms" for name, values in result["times"].items()}
    print(table(result))
    print(f"unigram entropy {result['entropy']:.4f}; median step {milliseconds}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
