"""`generation`: 256 tokens, one after the other, at batch 1, with and without a key/value cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.transformer import Transformer
from tests.benchmarks.workload import OURS, REFERENCE, Step, Workload
from tests.benchmarks.workloads import gpt

TOKENS = 256


@dataclass
class Problem:
    """A model, spread widely enough for the best token to be clear, and a prompt."""

    model: gpt.Problem
    prompt: np.ndarray
    tokens: int


def problem(tokens: int = TOKENS) -> Problem:
    """The model of `gpt` with a context that the text fits into."""
    model = gpt.problem(context=tokens + 16)
    rng = np.random.default_rng(1)
    model.weights = {
        name: rng.normal(0, 0.2, w.shape).astype(np.float32) if w.ndim == 2 else w for name, w in model.weights.items()
    }
    return Problem(model, rng.integers(0, model.config.vocab_size, 16), tokens)


def _signature(text: Any) -> float:
    """The whole text as one number, so that two texts can be compared as losses are."""
    text = np.asarray(text, dtype=float)
    return float(text @ np.arange(1, len(text) + 1))


def ours(p: Problem, use_cache: bool = True) -> Step:
    model = Transformer(p.model.config)
    model.load_state_dict(p.model.weights)
    return lambda: _signature(model.generate(p.prompt, p.tokens, temperature=0, use_cache=use_cache))


def ours_without_cache(p: Problem) -> Step:
    return ours(p, use_cache=False)


def pytorch(p: Problem, use_cache: bool = True) -> Step:
    import torch

    from tests.benchmarks.torch_transformer import TorchTransformer

    model = TorchTransformer(p.model.config)
    model.load_state_dict({name: torch.tensor(value) for name, value in p.model.weights.items()})

    @torch.inference_mode()
    def step() -> float:
        text, cache = torch.from_numpy(p.prompt)[None], None  # (1, T)
        unread = text
        for _ in range(p.tokens):
            logits, cache = model.following(unread if use_cache else text, cache if use_cache else None)
            unread = logits.argmax(dim=-1, keepdim=True)  # (1, V) -> (1, 1)
            text = torch.cat([text, unread], dim=1)
        return _signature(text[0])

    return step


def pytorch_without_cache(p: Problem) -> Step:
    return pytorch(p, use_cache=False)


GENERATION = Workload(
    "generation",
    "256 tokens at batch 1, greedy; the model of gpt, context 272",
    problem,
    {
        OURS: ours,
        f"{OURS}, no cache": ours_without_cache,
        REFERENCE: pytorch,
        f"{REFERENCE}, no cache": pytorch_without_cache,
    },
    tolerance=0.0,
    sizes={"tokens": TOKENS},
    work=TOKENS,
    unit="token",
)
