"""Train a transformer on text: `python -m models.train transformer --text FILE --steps 2000 --out out/transformer`.

The defaults are nanoGPT's for a small character model on a CPU: 4 layers of 4 heads, 128 wide, AdamW and a cosine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import signal
import sys
import threading
import time
from argparse import SUPPRESS, Namespace
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

import numpy as np

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import checkpoint, command
from models.checkpoint import Record
from models.command import UserError
from models.progress import Progress
from models.text import (
    DEFAULT,
    Corpus,
    allow_any_character,
    default_text,
    fixed_batches,
    random_batch,
    read_text,
    unigram_entropy,
)
from models.tokenizer import CharTokenizer, Tokenizer, WordTokenizer
from models.transformer import ACTIVATIONS, Transformer, TransformerConfig, evaluating
from tinygrad_edu import optim, serialize

VALIDATION_WINDOWS = 200  # of the validation part: a loss that is steady to about 0.02 nats
SAMPLE_TOKENS = 200  # of each sample while training
CHANGEABLE = ("text", "steps", "eval_every", "sample_every", "checkpoint_every")  # when a run is resumed


@dataclass(frozen=True)
class Settings:
    """How a transformer is built and trained."""

    text: str | None = None  # path of the text; without one, the Python language reference
    tokenizer: Literal["char", "word"] = "char"  # what a token is
    vocabulary: int = 4000  # the most tokens that a word tokenizer may have
    context: int = 64  # T, tokens that the model sees at once
    layers: int = 4  # blocks one after the other
    heads: int = 4  # of attention, in each block
    width: int = 128  # E, numbers that stand for a token
    mlp_ratio: int = 4  # hidden units of an MLP, in widths
    dropout: float = 0.0  # share of numbers that are dropped while training
    positional: Literal["learned", "sinusoidal"] = "learned"  # how a token is told its position
    activation: str = "gelu"  # the bend in the MLP
    tie_weights: bool = False  # whether the unembedding is the embedding
    bias: bool = True  # whether linear layers and norms have one
    norm_eps: float = 1e-5  # keeps a norm from dividing by 0
    steps: int = 2000  # batches to learn from
    batch_size: int = 12  # B, windows of the text in each batch
    lr: float = 1e-3  # step length of AdamW after the warm-up; it falls to a tenth along a cosine
    warmup: int = 100  # steps in which the step length rises
    weight_decay: float = 0.1  # pull of the weights towards zero
    seed: int = 0  # of the first weights, the batches and dropout
    eval_every: int = 250  # steps between two measurements of the validation loss
    sample_every: int = 500  # steps between two samples of text
    checkpoint_every: int = 250  # steps between two checkpoints

    def __post_init__(self) -> None:
        counts = ("vocabulary", "context", "layers", "heads", "width", "mlp_ratio", "steps", "batch_size")
        for name in (*counts, "eval_every", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (self.lr > 0 and self.warmup >= 0 and self.seed >= 0 and 0 <= self.weight_decay < 1):
            raise UserError("lr must be above 0, warmup and seed at least 0, weight_decay from 0 to below 1")

    def config(self, vocab_size: int) -> TransformerConfig:
        """The plan of the model."""
        try:
            return TransformerConfig(
                vocab_size=vocab_size,
                context_length=self.context,
                embed_dim=self.width,
                num_heads=self.heads,
                num_layers=self.layers,
                mlp_ratio=self.mlp_ratio,
                dropout=self.dropout,
                positional=self.positional,
                activation=self.activation,
                tie_weights=self.tie_weights,
                bias=self.bias,
                norm_eps=self.norm_eps,
            )
        except ValueError as error:
            raise UserError(str(error)) from None


@dataclass
class Training:
    """All that a training run is, between two steps."""

    settings: Settings
    corpus: Corpus
    tokenizer: Tokenizer
    model: Transformer
    optimizer: optim.Optimizer
    schedule: optim.Schedule
    record: Record
    seconds: float = 0.0  # spent in steps, since this process began
    tokens: int = 0  # learned from in that time

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds if self.seconds else 0.0


# Training ------------------------------------------------------------------------------------------------------------


def begin(settings: Settings, text: str) -> Training:
    """A fresh model for the text; the seed starts all random numbers of the run."""
    te.manual_seed(settings.seed)
    words = settings.tokenizer == "word"
    tokenizer = WordTokenizer.of(text, settings.vocabulary) if words else CharTokenizer.of(text)
    corpus = Corpus.of(text, tokenizer, settings.context)
    model = Transformer(settings.config(tokenizer.vocab_size))
    record = Record(dataclasses.asdict(settings), _digest(text))
    return prepared(settings, corpus, tokenizer, model, record)


def resume(run: Path, given: dict[str, Any]) -> Training:
    """Go on with a run as if it had never stopped. What is given may only change what changes no number."""
    saved = checkpoint.load(run, training=True)
    where = f"{saved.folder / checkpoint.STATE}: settings"
    settings = checkpoint.settings_from(Settings, saved.record.settings, where)
    if settings.config(saved.model.config.vocab_size) != saved.model.config:
        raise UserError(f"{where} are not those of the model in {checkpoint.CONFIG}")
    for name, value in given.items():
        old = getattr(settings, name)
        if value != old and name not in CHANGEABLE:
            raise UserError(
                f"--{name.replace('_', '-')} {value}: the run in {run} has {old}, which --resume cannot change"
            )
    settings = dataclasses.replace(settings, **given)
    text = load_text(settings)
    if _digest(text) != saved.record.text:
        raise UserError(f"the run in {run} learned from another text than {settings.text or DEFAULT} as it is now")
    record = dataclasses.replace(saved.record, settings=dataclasses.asdict(settings))
    training = prepared(
        settings, Corpus.of(text, saved.tokenizer, settings.context), saved.tokenizer, saved.model, record
    )
    saved.resume(training.optimizer, training.schedule)
    return training


def prepared(settings: Settings, corpus: Corpus, tokenizer: Tokenizer, model: Transformer, record: Record) -> Training:
    """The training with its optimizer, at the first step."""
    optimizer = optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay)
    schedule = optim.CosineLR(optimizer, settings.steps, min(settings.warmup, settings.steps), final=0.1)
    return Training(settings, corpus, tokenizer, model, optimizer, schedule, record)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def step(training: Training) -> float:
    """Learn from one batch; returns its loss."""
    settings, start = training.settings, time.perf_counter()
    inputs, targets = random_batch(training.corpus.train, settings.batch_size, settings.context)  # 2 x (B, T)
    loss = F.cross_entropy(training.model(inputs), targets, axis=-1)  # (B, T, V), (B, T) -> ()
    training.optimizer.zero_grad()
    loss.backward()
    norm = optim.clip_grad_norm_(training.model.parameters(), 1.0)
    if not math.isfinite(loss.item() + norm):
        number = training.record.step + 1
        raise UserError(f"the loss is not a number any more in step {number}: try an --lr below {settings.lr:g}")
    training.optimizer.step()
    training.schedule.step()
    training.record.losses.append(float(loss.item()))
    training.tokens += inputs.size
    training.seconds += time.perf_counter() - start
    return training.record.losses[-1]


def evaluate(training: Training) -> float:
    """The loss on the validation part: always the same windows, and no random number is drawn."""
    settings, model = training.settings, training.model
    batches = fixed_batches(training.corpus.validation, settings.batch_size, settings.context, VALIDATION_WINDOWS)
    with te.no_grad(), evaluating(model):
        losses = [F.cross_entropy(model(inputs), targets, axis=-1).item() for inputs, targets in batches]
    return float(np.average(losses, weights=[len(inputs) for inputs, _ in batches]))


def sample(training: Training, tokens: int = SAMPLE_TOKENS) -> str:
    """What the model writes by now. The step is the seed, so that the training's random numbers stay as they are."""
    tokenizer = training.tokenizer
    ids = training.model.generate(np.array([tokenizer.start()]), tokens, temperature=0.8, seed=training.record.step)
    return tokenizer.decode(ids[1:])


class StopRequest:
    """While it is open, Ctrl-C asks for a stop between two steps; pressed again, it stops at once."""

    def __init__(self) -> None:
        self.made = False
        self.handler: Any = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # no other thread may handle signals
            self.handler = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handler is not None:
            signal.signal(signal.SIGINT, self.handler)


def fit(training: Training, run: Path | None = None, stop: StopRequest | None = None, samples: bool = True) -> bool:
    """Train to the last step, or until a stop is asked for; True if the end was reached.

    run: the folder for checkpoints, of the last step too; None keeps none.
    """
    settings, record = training.settings, training.record
    stopping = False
    with Progress(settings.steps, unit="step", done=record.step) as progress:
        while record.step < settings.steps and not stopping:
            step(training)
            stopping = stop is not None and stop.made
            note = [f"loss {np.mean(record.losses[-20:]):.3f}", f"{training.rate:,.0f} tokens/s"]
            now, last = record.step, record.step == settings.steps
            if last or now % settings.eval_every == 0:
                record.validation.append((now, evaluate(training)))
            if record.validation:
                note.insert(1, f"validation {record.validation[-1][1]:.3f}")
            if run and (last or stopping or now % settings.checkpoint_every == 0):
                save(training, run)
            progress.step("  ".join(note))
            if samples and not stopping and (last or now % settings.sample_every == 0):
                _show(progress, now, note, sample(training))
    return record.step == settings.steps


def save(training: Training, run: Path) -> Path:
    """Write a checkpoint of the run."""
    t = training
    return checkpoint.save(run, t.model, t.tokenizer, t.optimizer, t.schedule, t.record)


def _show(progress: Progress, step: int, note: list[str], text: str) -> None:
    """Print a sample above the bar."""
    if progress.bar is not None:
        progress.bar.clear()
    print(f"--- step {step}: {', '.join(note)}. The model writes:\n{text.strip()}\n", flush=True)


# The command ---------------------------------------------------------------------------------------------------------


def load_text(settings: Settings) -> str:
    """The text of the settings."""
    return default_text() if settings.text is None else read_text(settings.text)


def train_transformer(options: Namespace) -> int:
    """Train, with checkpoints; Ctrl-C or SIGTERM ends the training early and saves what there is."""
    run = Path(options.out)
    allow_any_character()
    with command.user_errors():
        serialize.library()  # a missing package shall be known now, not after the training
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    training = resume(run, given) if options.resume else _fresh(run, given, options.overwrite)
    command.output_folder(options.out)
    checkpoint.clean(run)
    _introduce(training)
    if training.record.step >= training.settings.steps:
        print(f"the run in {run} has done its {training.settings.steps} steps; --steps N with a larger N goes on")
        return 0
    with StopRequest() as stop, np.errstate(all="ignore"):  # a step itself reports a loss that is not a number
        finished = fit(training, run, stop)
    done, steps, folder = training.record.step, training.settings.steps, checkpoint.newest(run)
    if not finished:
        print(f"stopped after step {done} of {steps}; saved to {folder}, --resume goes on from there", file=sys.stderr)
        return command.STOPPED
    print(f"validation loss {training.record.validation[-1][1]:.3f} after {steps} steps, {training.rate:,.0f} tokens/s")
    print(f"wrote {folder}; let it write: python -m models.generate {run}")
    return 0


def _fresh(run: Path, given: dict[str, Any], overwrite: bool) -> Training:
    """A new run, where there is none yet. An old one stays until the first checkpoint of the new one."""
    if checkpoint.newest(run) is not None and not overwrite:
        raise UserError(f"{run} already holds a run: --resume goes on with it, --overwrite replaces it")
    settings = Settings(**given)
    return begin(settings, load_text(settings))


def _introduce(training: Training) -> None:
    """Say what is trained on what."""
    settings, corpus, model = training.settings, training.corpus, training.model
    train, validation = corpus.train, corpus.validation
    entropy = unigram_entropy(np.concatenate([train, validation]))  # (N,) and (M,) -> (N + M,)
    print(f"text {settings.text or DEFAULT}: {len(train):,} tokens to train, {len(validation):,} to validate")
    print(f"{training.tokenizer.vocab_size} different tokens; who knows only their frequencies has loss {entropy:.3f}")
    print(f"Transformer of {settings.layers} layers, {settings.heads} heads, width {settings.width}, context ", end="")
    print(f"{settings.context}: {model.num_parameters():,} parameters")
    if training.record.step:
        print(f"going on after step {training.record.step} of {settings.steps}")
    sys.stdout.flush()


def add_transformer(models: Any) -> None:
    """The subcommand `transformer`. What is not given is not in the options, so that --resume can tell."""
    parser = models.add_parser(
        "transformer",
        help="a language model",
        description="Train a transformer to continue text.",
        argument_default=SUPPRESS,
    )
    parser.set_defaults(run=train_transformer, resume=False, overwrite=False, out="out/transformer")
    add, count, any_count = parser.add_argument, command.whole_number(1), command.whole_number(0)
    add("--out", metavar="DIR", help="folder for the checkpoints (out/transformer)")
    add("--resume", action="store_true", help="go on with the run in DIR")
    add("--overwrite", action="store_true", help="replace the run in DIR")
    add("--text", metavar="FILE", help=f"UTF-8 text to learn from ({DEFAULT})")
    options: list[tuple[str, str, dict[str, Any], str]] = [
        ("tokenizer", "", {"choices": ("char", "word")}, "what a token is"),
        ("vocabulary", "N", {"type": command.whole_number(2)}, "most tokens of a word tokenizer"),
        ("context", "T", {"type": count}, "tokens that the model sees at once"),
        ("layers", "N", {"type": count}, "blocks one after the other"),
        ("heads", "N", {"type": count}, "of attention in each block"),
        ("width", "N", {"type": count}, "numbers that stand for a token"),
        ("mlp_ratio", "N", {"type": count}, "hidden units of an MLP, in widths"),
        ("dropout", "P", {"type": command.share}, "share of numbers dropped in training"),
        ("positional", "", {"choices": ("learned", "sinusoidal")}, "how positions are told"),
        ("activation", "NAME", {"choices": tuple(ACTIVATIONS), "metavar": "NAME"}, ", ".join(ACTIVATIONS)),
        ("norm_eps", "EPS", {"type": command.positive}, "keeps a norm from dividing by 0"),
        ("steps", "N", {"type": count}, "batches to learn from"),
        ("batch_size", "N", {"type": count}, "windows of text in each batch"),
        ("lr", "STEP", {"type": command.positive}, "learning rate after the warm-up"),
        ("warmup", "N", {"type": any_count}, "steps of warm-up"),
        ("weight_decay", "W", {"type": command.share}, "pull of the weights towards zero"),
        ("seed", "N", {"type": any_count}, "of everything random"),
        ("eval_every", "N", {"type": count}, "steps between validation losses"),
        ("sample_every", "N", {"type": count}, "steps between samples of text"),
        ("checkpoint_every", "N", {"type": count}, "steps between checkpoints"),
    ]
    for name, metavar, form, text in options:
        form = form if "choices" in form else {**form, "metavar": metavar}
        add(f"--{name.replace('_', '-')}", help=f"{text} ({getattr(Settings(), name)})", **form)
    add("--tie-weights", action="store_true", help="the unembedding is the embedding")
    add("--no-bias", action="store_false", dest="bias", help="linear layers and norms without one")
