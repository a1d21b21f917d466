"""Let a trained transformer write: `python -m models.generate out/transformer --prompt "The " --stream`."""

from __future__ import annotations

import math
import shutil
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import checkpoint, command
from models.command import Parser
from models.text import allow_any_character
from models.tokenizer import UNKNOWN, Tokenizer, load_tokenizer
from models.transformer import Transformer

PROG = "python -m models.generate"
LIKELY = 10  # how many tokens --next shows


class Writer:
    """Prints text as its tokens come in; a character that is not complete yet waits for the rest of its bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[int] = []

    def __call__(self, id: int) -> None:
        """One more token."""
        self.waiting.append(id)
        if not self.tokenizer.decode(self.waiting).endswith("\N{REPLACEMENT CHARACTER}"):
            self.flush()

    def flush(self) -> None:
        """Print what waits."""
        print(self.tokenizer.decode(self.waiting), end="", flush=True)
        self.waiting.clear()


def prompt_ids(text: str, tokenizer: Tokenizer, context: int) -> np.ndarray:
    """The tokens of a prompt (T,), T > 0; what the model cannot read of it is told on standard error."""
    ids = tokenizer.encode(text) if text else np.array([tokenizer.start()])
    missing = tokenizer.missing(text)
    if missing:
        named = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        print(f"{PROG}: the model does not know {named}; it reads {UNKNOWN} there", file=sys.stderr)
    if len(ids) > context:
        print(f"{PROG}: the prompt has {len(ids)} tokens; the model sees the last {context}", file=sys.stderr)
    return ids


def show_next(model: Transformer, tokenizer: Tokenizer, ids: np.ndarray, temperature: float) -> None:
    """Print the most likely next tokens, as bars that fit the terminal."""
    likely = model.next_token_distribution(ids, temperature, tokenizer, top=LIKELY)
    names = [repr(each.text) for each in likely]
    width = max(len(name) for name in names)
    room = max(5, shutil.get_terminal_size().columns - width - 20)
    bar = "█" if _can_print("█") else "#"
    print(f"{'next':{width}}  {'T = 1':>6}  {f'T = {temperature:g}':>7}")
    for name, each in zip(names, likely, strict=True):
        print(f"{name:{width}}  {each.before:6.1%}  {each.after:7.1%} {bar * round(room * each.after)}".rstrip())


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def open_model(path: Path) -> tuple[Transformer, Tokenizer]:
    """The model and tokenizer of a run, of a checkpoint, or of a GPT-2 in Hugging Face's format."""
    if (path / checkpoint.MODEL).exists() and not (path / checkpoint.CHECKSUMS).exists():
        return Transformer.from_gpt2(path), load_tokenizer(path)
    saved = checkpoint.load(path)
    return saved.model, saved.tokenizer


def generate(options: Namespace) -> int:
    """Print the prompt and what the model makes of it."""
    allow_any_character()
    model, tokenizer = open_model(Path(options.folder))
    ids = prompt_ids(options.prompt, tokenizer, model.config.context_length)
    with np.errstate(all="ignore"):  # a diverged model has one error, of the function that chooses the next token
        if options.next:
            show_next(model, tokenizer, ids, options.temperature)
        else:
            _continue(model, tokenizer, ids, options)
    return 0


def _continue(model: Transformer, tokenizer: Tokenizer, ids: np.ndarray, options: Namespace) -> None:
    """Print the prompt, and what the model writes after it."""
    writer = Writer(tokenizer)
    print(options.prompt, end="", flush=True)
    text = model.generate(
        ids,
        options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        stream=writer if options.stream else None,
    )
    if not options.stream:
        writer.waiting.extend(text[len(ids) :].tolist())
    writer.flush()
    print()


def temperature(text: str) -> float:
    """An argument type: a number that is at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return number


def probability(text: str) -> float:
    """An argument type: a number above 0, up to 1."""
    number = command.positive(text)
    if number > 1:
        raise ArgumentTypeError(f"expected a number above 0, up to 1, got {text!r}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(prog=PROG, description="Let a trained transformer continue a text.")
    parser.set_defaults(run=generate)
    count, add = command.whole_number(1), parser.add_argument
    add("folder", metavar="DIR", help="of a training run, of a checkpoint, or of a GPT-2 from Hugging Face")
    add("--prompt", default="", metavar="TEXT", help="what to continue; without one the model begins a new line")
    add("--max-new-tokens", type=count, default=300, metavar="N", help="how much to write (%(default)s)")
    add("--temperature", type=temperature, default=0.8, metavar="T", help="0: always the likeliest (%(default)s)")
    add("--top-k", type=count, metavar="K", help="choose among the K likeliest tokens only")
    add("--top-p", type=probability, metavar="P", help="among the likeliest that make up this probability")
    add("--seed", type=command.whole_number(0), metavar="N", help="the same text each time")
    add("--stream", action="store_true", help="print each token at once")
    add("--next", action="store_true", help="print how likely the next tokens are, and write nothing")
    return command.run(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
