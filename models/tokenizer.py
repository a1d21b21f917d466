"""Tokenizers: text -> the numbers that a model reads, and back. By characters, by words, or by byte pairs as GPT-2.

>>> tokenizer = CharTokenizer.of("banana")
>>> tokenizer.encode("nab")
array([2, 0, 1])
>>> tokenizer.decode([1, 0, 2])
'ban'
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from models.command import UserError, one_line, read_json

Result = TypeVar("Result")
INSTALL = 'pip install "tinygrad_edu[text]"'
MAX_UNUSED = 2**16  # numbers without a token; a made-up one might fill the memory
NO_BYTE_PAIRS = "describes no byte-pair tokenizer"
UNKNOWN = "<unk>"  # what a word tokenizer reads and writes for a word that it has not learned
STARTS = ("<|endoftext|>", "\n", "Ċ", UNKNOWN)  # what may stand before a text; Ċ is how byte pairs write a new line
VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})


class Tokenizer:
    """Base of the tokenizers: a list of tokens, whose numbers are their places in it.

    Subclasses cut a text into tokens with `split`; they may have a token for all that is unknown.
    """

    kind: ClassVar[str]
    unknown: ClassVar[str | None] = None

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if not self.tokens:
            raise UserError(f"{type(self).__name__}: there are no tokens: the text is empty")
        if len(self.ids) != len(self.tokens):
            raise UserError(f"{type(self).__name__}: a token appears twice")

    @property
    def vocab_size(self) -> int:
        """V, how many tokens there are; their numbers go from 0 to V - 1."""
        return len(self.tokens)

    def split(self, text: str) -> Sequence[str]:
        """Cut a text into tokens, known or not."""
        raise NotImplementedError

    def missing(self, text: str) -> list[str]:
        """The pieces of the text that are no token, each once, in order."""
        return [piece for piece in dict.fromkeys(self.split(text)) if piece not in self.ids]

    def encode(self, text: str) -> np.ndarray:
        """Text -> token numbers (N,)."""
        pieces = self.split(text)
        if self.unknown is not None:
            unknown = self.ids[self.unknown]
            return np.array([self.ids.get(piece, unknown) for piece in pieces], dtype=np.int64)
        try:
            return np.array([self.ids[piece] for piece in pieces], dtype=np.int64)
        except KeyError:
            raise UserError(self._complaint(self.missing(text))) from None

    def _complaint(self, missing: Sequence[str]) -> str:
        named = ", ".join(f"{piece!r} ({', '.join(f'U+{ord(c):04X}' for c in piece)})" for piece in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return f"not among the {self.vocab_size} characters that the model knows: {named}{more}; leave them out"

    def decode(self, ids: Iterable[int]) -> str:
        """Token numbers -> text."""
        return "".join(self.tokens[i] for i in _checked(ids, self.vocab_size))

    def token(self, id: int) -> str:
        """One token as it is drawn: spaces and new lines are made visible."""
        return self.decode([id]).translate(VISIBLE)

    def start(self) -> int:
        """The token that stands before an empty prompt: an end of text or a new line, else the first one."""
        return next((self.ids[token] for token in STARTS if token in self.ids), 0)

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs, ready for json.dump."""
        return {"kind": self.kind, "tokens": list(self.tokens)}

    @staticmethod
    def from_json(data: Any) -> Tokenizer:
        """The tokenizer of `to_json`, or the content of a Hugging Face tokenizer.json."""
        if not isinstance(data, dict):
            raise UserError(f"a tokenizer is a JSON object, got {type(data).__name__}")
        if "kind" not in data and "model" in data:
            return BytePairTokenizer.from_text(json.dumps(data))
        kinds: dict[str, type[Tokenizer]] = {each.kind: each for each in (CharTokenizer, WordTokenizer)}
        kind, tokens = data.get("kind"), data.get("tokens")
        if not isinstance(kind, str) or kind not in kinds:
            raise UserError(f"there is no tokenizer of kind {kind!r:.40}; known are {', '.join(kinds)}")
        if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
            raise UserError("the tokens of a tokenizer must be a list of texts, none of them empty")
        return kinds[kind](tokens)


def _checked(ids: Iterable[int], vocab_size: int) -> list[int]:
    """The numbers as a list, if each is that of a token."""
    numbers = [int(i) for i in ids]
    for number in numbers:
        if not 0 <= number < vocab_size:
            raise UserError(f"decode: there is no token {number}; they go from 0 to {vocab_size - 1}")
    return numbers


class CharTokenizer(Tokenizer):
    """Each character is a token. One that the tokenizer has not learned is an error that names it."""

    kind = "char"

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__(tokens)
        if any(len(token) != 1 for token in self.tokens):
            raise UserError("CharTokenizer: each token must be one character")

    @classmethod
    def of(cls, text: str) -> CharTokenizer:
        """All characters of the text, in the order of Unicode."""
        return cls(sorted(set(text)))

    def split(self, text: str) -> Sequence[str]:
        """A text is its characters."""
        return text


class WordTokenizer(Tokenizer):
    """Words, punctuation marks and stretches of white space are the tokens; what is unknown becomes `<unk>`.

    >>> tokenizer = WordTokenizer.of("the cat, the dog")
    >>> tokenizer.tokens
    ('<unk>', ' ', 'the', ',', 'cat', 'dog')
    >>> tokenizer.decode(tokenizer.encode("the dog, the bird"))
    'the dog, the <unk>'
    """

    kind = "word"
    unknown = UNKNOWN

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__(tokens)
        if UNKNOWN not in self.ids:
            raise UserError(f"WordTokenizer: the token {UNKNOWN} is missing")

    @classmethod
    def of(cls, text: str, max_size: int | None = None) -> WordTokenizer:
        """The tokens of the text, most frequent first; not more than `max_size`, `<unk>` included."""
        if max_size is not None and max_size < 2:
            raise UserError(f"WordTokenizer: expected a vocabulary of at least 2 tokens, got {max_size}")
        counts = Counter(_words(text))
        by_frequency = sorted(counts, key=lambda token: (-counts[token], token))
        return cls([UNKNOWN, *by_frequency][:max_size])

    def split(self, text: str) -> Sequence[str]:
        """Every character falls into exactly one token, so that joined they are the text again."""
        return _words(text)


def _words(text: str) -> list[str]:
    """Letters and digits in a row, white space in a row, or one other sign."""
    return re.findall(r"\w+|\s+|[^\w\s]", text)


# Byte pairs ----------------------------------------------------------------------------------------------------------


class BytePairTokenizer(Tokenizer):
    """The byte-pair tokenizers of Hugging Face's `tokenizers`, GPT-2's among them. Nothing is unknown to those.

    A rare word is several tokens, and a rare character too: one token may be part of a character.
    """

    kind = "byte pairs"

    def __init__(self, engine: Any) -> None:
        self.engine = engine  # a tokenizers.Tokenizer, which truncates and pads only where it is told to
        engine.no_truncation()
        engine.no_padding()
        names = {i: token for token, i in engine.get_vocab(with_added_tokens=True).items()}
        size = max(names, default=-1) + 1
        if size > len(names) + MAX_UNUSED:
            raise UserError(f"its {len(names):,} tokens have numbers up to {size - 1:,}")
        super().__init__([names.get(i, f"<unused {i}>") for i in range(size)])

    @classmethod
    def from_text(cls, text: str) -> BytePairTokenizer:
        """The content of a tokenizer.json."""
        tokenizers = _library()
        return _guarded(lambda: cls(tokenizers.Tokenizer.from_str(text)), f"tokenizer.json {NO_BYTE_PAIRS}")

    @classmethod
    def from_files(cls, vocab: str | PathLike[str], merges: str | PathLike[str]) -> BytePairTokenizer:
        """GPT-2's vocab.json (token -> number) and merges.txt (pairs, most important first)."""
        tokenizers = _library()

        def read() -> BytePairTokenizer:
            engine = tokenizers.ByteLevelBPETokenizer(str(vocab), str(merges))
            return cls(tokenizers.Tokenizer.from_str(engine.to_str()))

        return _guarded(read, f"{vocab} or {merges} {NO_BYTE_PAIRS}")

    def split(self, text: str) -> Sequence[str]:
        """The tokens by name: with Ġ for a space and other signs for single bytes."""
        return [self.tokens[i] for i in self.encode(text)]

    def missing(self, text: str) -> list[str]:
        """Nothing that has no token of its own is left out: it is cut into bytes."""
        return []

    def encode(self, text: str) -> np.ndarray:
        """Text -> token numbers (N,)."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the text is not Unicode: there is half a character at place {error.start}") from None
        encode = functools.partial(self.engine.encode, text, add_special_tokens=False)
        return np.array(_guarded(encode, "the tokenizer cannot read this text").ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Token numbers -> text; bytes that are no whole character become �."""
        decode = functools.partial(self.engine.decode, _checked(ids, self.vocab_size), skip_special_tokens=False)
        text: str = _guarded(decode, "the tokenizer cannot write these tokens")
        return text

    def to_json(self) -> dict[str, Any]:
        """The content of a tokenizer.json."""
        data: dict[str, Any] = json.loads(self.engine.to_str())
        return data


def _library() -> Any:
    """The optional package `tokenizers`."""
    try:
        import tokenizers
    except ImportError:
        raise UserError(f"byte pairs need the package tokenizers, which is not installed: {INSTALL}") from None
    return tokenizers


def _guarded(call: Callable[[], Result], complaint: str) -> Result:
    """What the library makes of a file or a text. It reports what is wrong in many ways, a panic of Rust among them."""
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic is no Exception
        raise UserError(f"{complaint}: {one_line(error):.120}") from None


# Files ---------------------------------------------------------------------------------------------------------------


def load_tokenizer(path: str | PathLike[str]) -> Tokenizer:
    """The tokenizer in a file (tokenizer.json) or a folder (that, or GPT-2's vocab.json and merges.txt)."""
    path = Path(path)
    file, vocab, merges = (path / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if path.is_dir() and not file.exists():
        if vocab.exists() and merges.exists():
            return BytePairTokenizer.from_files(vocab, merges)
        raise UserError(f"{path} holds no tokenizer: neither tokenizer.json nor vocab.json and merges.txt")
    file = file if path.is_dir() else path
    data = read_json(file)
    try:
        return Tokenizer.from_json(data)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
