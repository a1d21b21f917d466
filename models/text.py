"""Text to learn from: read, cut into a training and a validation part, drawn in random windows."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from models.command import UserError, one_line
from models.tokenizer import Tokenizer
from tinygrad_edu import random

DEFAULT = "the Python language reference"


def default_text() -> str:
    """Real English that every Python carries: the language reference, as `help()` shows it; 370 kB in Python 3.11.

    A passage that stands under several topics is kept once: else a model could know the validation part by heart.
    """
    from pydoc_data.topics import topics

    passages = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)).split("\n\n")
    return "\n\n".join(dict.fromkeys(passages)) + "\n"


def read_text(path: str | PathLike[str]) -> str:
    """The text of a UTF-8 file; the line ends of Windows become those of everybody else."""
    if Path(path).is_dir():
        raise UserError(f"cannot read {path}: it is a folder, not a text file")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # -sig: without the mark that Windows may put at the start
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or one_line(error)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    if not text.strip():
        raise UserError(f"{path} is empty: there is nothing to learn from")
    return text


def allow_any_character() -> None:
    """From now on a terminal that lacks a character shows a question mark, where Python would raise an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@dataclass(frozen=True)
class Corpus:
    """A text as token numbers, in two parts: one to learn from, and one to see how well that went."""

    train: np.ndarray  # (N,) integers from 0 to V - 1
    validation: np.ndarray  # (M,) the end of the text

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer, context: int, share: float = 0.1) -> Corpus:
        """Encode the text and put its last tenth aside; each part must hold more than one context."""
        ids = tokenizer.encode(text)  # (N + M,)
        cut = len(ids) - max(context + 1, round(share * len(ids)))
        if cut < context + 1:
            raise UserError(
                f"the text is too short: {len(ids)} tokens, but a context of {context} needs {2 * (context + 1)}, half "
                "to train on and half to validate; take a longer text or a shorter --context"
            )
        return cls(ids[:cut], ids[cut:])


def windows(ids: np.ndarray, starts: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, T) that begin at `starts` (B,), and targets (B, T): for each token the one that follows it.

    >>> windows(np.array([5, 6, 7, 8, 9]), starts=np.array([0, 1]), context=3)
    (array([[5, 6, 7],
           [6, 7, 8]]), array([[6, 7, 8],
           [7, 8, 9]]))
    """
    places = starts[:, None] + np.arange(context)  # (B, 1) + (T,) -> (B, T)
    return ids[places], ids[places + 1]


def random_batch(ids: np.ndarray, batch_size: int, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets (B, T) from random places, drawn from `te.manual_seed`'s numbers."""
    starts = random.generator().integers(len(ids) - context, size=batch_size)
    return windows(ids, starts, context)


def fixed_batches(ids: np.ndarray, batch_size: int, context: int, limit: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same batches each time, without chance: up to `limit` windows, evenly spread over the text."""
    count = min(limit, (len(ids) - 1) // context)
    starts = np.linspace(0, len(ids) - context - 1, count).astype(np.int64)  # (count,)
    return [windows(ids, starts[i : i + batch_size], context) for i in range(0, count, batch_size)]


def unigram_entropy(ids: np.ndarray) -> float:
    """H = -Σ p log p, in nats: the loss of a model that knows how frequent each token is, and nothing else.

    >>> round(unigram_entropy(np.array([0, 1, 0, 1])), 4)  # two tokens, equally frequent: ln 2
    0.6931
    """
    counts = np.bincount(ids)
    p = counts[counts > 0] / len(ids)
    return float(-(p * np.log(p)).sum())
