"""A decoder-only transformer, the kind of model behind GPT: from tokens to the probabilities of the next token.

Read it from top to bottom. The text is a row of **tokens**, whole numbers that stand for characters, words or pieces of
words. The model reads T of them and says, after each one, which token it expects next:

    x = W_E[ids] + P[0 ... T - 1]            **embedding**: what each token is, and at which **position** it stands
    x = x + attention(norm(x))               **attention**: each token gathers what it needs from the tokens before it
    x = x + mlp(norm(x))                     each token thinks about what it has gathered; both once in every block
    logits = norm(x) W_Uᵀ                    **unembedding**: how well each token of the vocabulary would fit next
    p = softmax(logits / temperature)        **sampling**: draw the next token, append it, begin again

x is the residual stream: E numbers for each token, to which every step adds something. In shapes, B is the batch, T
the number of tokens, V the size of the vocabulary, E the width (embed_dim), H the number of heads and D = E / H the
width of a head. Queries, keys, values, masks and heads are taken apart in `tinygrad_edu/nn/attention.py`.

Sources: Vaswani et al. 2017 (arXiv:1706.03762) for attention and sinusoidal positions; Radford et al. 2019, "Language
Models are Unsupervised Multitask Learners" (GPT-2), for norms in front of each step and for the initial weights.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, Literal, NamedTuple

import numpy as np

import tinygrad_edu as te
from models.command import UserError
from models.mlp import ACTIVATIONS as MLP_ACTIVATIONS
from models.tokenizer import Tokenizer
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import init
from tinygrad_edu.random import generator

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {**MLP_ACTIVATIONS, "gelu_tanh": partial(nn.GELU, "tanh")}
POSITIONAL = {"learned": nn.LearnedPositionalEncoding, "sinusoidal": nn.SinusoidalPositionalEncoding}

Cache = list[nn.KeyValueCache]  # one for each block


# The plan of a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of a transformer, checked."""

    vocab_size: int  # V, how many different tokens there are
    context_length: int  # the longest text that the model reads at once, in tokens
    embed_dim: int  # E, how many numbers describe a token
    num_heads: int  # H, how many questions each token asks in a block; divides embed_dim
    num_layers: int  # how many blocks
    mlp_ratio: int = 4  # the hidden layer of an MLP has mlp_ratio · E units
    dropout: float = 0.0  # the share of numbers that are dropped while training
    positional: Literal["learned", "sinusoidal"] = "learned"  # how a token is told its position
    tie_weights: bool = False  # whether the unembedding W_U is the embedding W_E
    bias: bool = True  # whether linear layers and norms have one
    activation: str = "gelu"  # the bend in the MLP; GPT-2's is gelu_tanh
    norm_eps: float = 1e-5  # keeps a norm from dividing by 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "embed_dim", "num_heads", "num_layers", "mlp_ratio"):
            self._expect(name, "a whole number of at least 1", _is_count(getattr(self, name)))
        for name in ("tie_weights", "bias"):
            self._expect(name, "True or False", isinstance(getattr(self, name), bool))
        self._expect("dropout", "a probability from 0 to below 1", _is_number(self.dropout) and 0 <= self.dropout < 1)
        self._expect("norm_eps", "a number above 0", _is_number(self.norm_eps) and 0 < self.norm_eps < math.inf)
        self._expect("positional", " or ".join(POSITIONAL), self.positional in list(POSITIONAL))
        self._expect("activation", f"one of {', '.join(ACTIVATIONS)}", self.activation in list(ACTIVATIONS))
        if self.embed_dim % self.num_heads:
            raise UserError(
                f"TransformerConfig: each head gets embed_dim / num_heads numbers, so embed_dim={self.embed_dim} must "
                f"be a multiple of num_heads={self.num_heads}"
            )

    def _expect(self, name: str, what: str, fine: bool) -> None:
        if not fine:
            raise UserError(f"TransformerConfig: expected {name} to be {what}, got {getattr(self, name)!r:.60}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# The parts -----------------------------------------------------------------------------------------------------------


class FeedForward(nn.Module):
    """The MLP of a block, for each token by itself: (..., E) -> (..., mlp_ratio · E) -> (..., E)."""

    def __init__(self, config: TransformerConfig, dtype: Any = np.float32) -> None:
        hidden = config.mlp_ratio * config.embed_dim
        self.up = nn.Linear(config.embed_dim, hidden, config.bias, dtype)
        self.activation = ACTIVATIONS[config.activation]()
        self.down = nn.Linear(hidden, config.embed_dim, config.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) -> (..., E)."""
        hidden = self.activation(self.up(x))  # (B, T, E) -> (B, T, mlp_ratio · E)
        output: Tensor = self.down(hidden)  # (B, T, mlp_ratio · E) -> (B, T, E)
        return output


class Block(nn.Module):
    """x = x + attention(norm(x)); x = x + mlp(norm(x)): tokens talk to each other, then each thinks for itself.

    What a step finds is added to x, so that a gradient always has a way straight back (He et al. 2015,
    arXiv:1512.03385); it looks at a normalised copy, so that it need not care how large x has grown.
    """

    def __init__(self, config: TransformerConfig, dtype: Any = np.float32) -> None:
        E = config.embed_dim
        self.attention_norm = nn.LayerNorm(E, config.norm_eps, config.bias, dtype)
        self.attention = nn.MultiHeadAttention(E, config.num_heads, config.bias, config.dropout, dtype)
        self.mlp_norm = nn.LayerNorm(E, config.norm_eps, config.bias, dtype)
        self.mlp = FeedForward(config, dtype)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Any = None, cache: nn.KeyValueCache | None = None) -> Tensor:
        """(B, T, E) -> (B, T, E); token t sees tokens 0 to t."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask, is_causal=True, cache=cache))
        output: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return output  # (B, T, E)


# The model -----------------------------------------------------------------------------------------------------------


class Transformer(nn.Module):
    """Token ids to the logits of the next token, and from there to text: (B, T) -> (B, T, V).

    Parameters by path: `embed.weight` W_E (V, E), `positions.weight` (context_length, E) where they are learned,
    `blocks.0.attention.query.weight` and so on, `final_norm.weight`, `unembed.weight` W_U (V, E), which is W_E itself
    with tie_weights.

    Initial values are GPT-2's: weights N(0, 0.02²), biases 0. What ends in the residual stream (`attention.output`,
    `mlp.down`) is divided by √(2 num_layers), because that many of them add up there. A fresh model thus expects every
    token about equally, and its loss is close to log V.

    >>> te.manual_seed(0)
    >>> model = Transformer(TransformerConfig(vocab_size=5, context_length=8, embed_dim=4, num_heads=2, num_layers=1))
    >>> model(np.array([[0, 1, 2]])).shape
    (1, 3, 5)
    """

    def __init__(self, config: TransformerConfig, dtype: Any = np.float32) -> None:
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.embed_dim, dtype)  # W_E
        self.positions = POSITIONAL[config.positional](config.context_length, config.embed_dim, dtype)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, dtype) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.embed_dim, config.norm_eps, config.bias, dtype)
        self.unembed = nn.Linear(config.embed_dim, config.vocab_size, bias=False, dtype=dtype)  # W_U
        if config.tie_weights:
            self.unembed.weight = self.embed.weight
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2's initial weights; a norm starts as 1 and 0 by itself."""
        into_stream = 0.02 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                init.zeros_(parameter)
            elif "norm" not in name:
                into = name.endswith(("attention.output.weight", "mlp.down.weight"))
                init.normal_(parameter, std=into_stream if into else 0.02)

    def forward(self, ids: Any, mask: Any = None, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """Logits of the token after each token: ids (B, T) or (T,) -> (B, T, V) or (T, V).

        ids: integers from 0 to V - 1, at most context_length in a row, as an array, a Tensor or lists.
        mask: (B, S) booleans, True where a token is real: padding is not looked at and has no position of its own.
        cache: of `new_cache()`; ids are then only the tokens that follow those it holds, and a mask covers both.
        last_only: only the logits of the last token, (B, 1, V).
        """
        ids = self._checked(ids)
        positions, mask = self._places(ids, mask, cache)
        x = self.embed(ids)  # (B, T) -> (B, T, E)
        if self.config.positional == "sinusoidal":
            x = x * math.sqrt(self.config.embed_dim)  # W_E starts small and P is large: else P would drown it (3.4)
        x = self.dropout(x + self.positions(positions))  # (B, T, E) + (T, E) -> (B, T, E)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, cache[i] if cache else None)  # (B, T, E)
        x = x[..., -1:, :] if last_only else x  # (B, T, E) -> (B, 1, E)
        logits: Tensor = self.unembed(self.final_norm(x))  # (B, T, E) -> (B, T, V)
        return logits

    def _places(self, ids: np.ndarray, mask: Any, cache: Cache | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The positions of tokens that follow those in the cache, (T,), and the mask of the keys they may look at.

        Where padding is masked, positions are (B, T) and count the real tokens only.
        """
        if cache and isinstance(cache[0], nn.FixedCache):
            if mask is not None:
                raise UserError("Transformer: a FixedCache is for one text without padding: pass no mask")
            return cache[0].positions, None
        known = cache[0].length if cache else 0
        S = known + ids.shape[-1]
        if S > self.config.context_length:
            raise UserError(
                f"Transformer: {S} tokens are more than context_length={self.config.context_length}; pass the last "
                "ones, as in ids[..., -model.config.context_length:]"
            )
        if mask is None:
            return np.arange(known, S), None
        real, expected = np.asarray(mask), (*ids.shape[:-1], S)
        if real.dtype != bool or real.shape != expected:
            raise UserError(
                f"Transformer: expected a boolean mask {expected}, True where a token is real, got {real.dtype} "
                f"{real.shape}"
            )
        positions = np.maximum(real.cumsum(axis=-1) - 1, 0)  # (B, S)
        return positions[..., known:], real[..., None, :]  # (B, S) -> (B, T) and (B, 1, S): one row for all queries

    def new_cache(self) -> Cache:
        """An empty key/value cache for each block, for one text that grows."""
        return [nn.KeyValueCache() for _ in self.blocks]

    def _checked(self, ids: Any) -> np.ndarray:
        """The ids as an array, if they are token ids."""
        array = np.asarray(ids)
        if array.ndim not in (1, 2):
            raise UserError(f"Transformer: expected token ids (B, T) or (T,), got shape {array.shape}")
        if array.shape[-1] == 0:
            raise UserError("Transformer: there are no tokens; begin with at least one, such as a new line")
        if array.dtype.kind not in "iu":
            raise TypeError(f"Transformer: token ids are integers, got {array.dtype}; did you forget to encode a text?")
        V = self.config.vocab_size
        wrong = array[(array < 0) | (array >= V)]
        if wrong.size:
            raise UserError(f"Transformer: token id {wrong[0]} is not in the vocabulary of {V} tokens, 0 to {V - 1}")
        return array

    # Writing ---------------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt_ids: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: int | Collection[int] | None = None,
        stream: Callable[[int], Any] | None = None,
        use_cache: bool = True,
        capture: bool = False,
    ) -> np.ndarray:
        """Continue a text: prompt_ids (T,) -> (T + n,) with n <= max_new_tokens new ids behind the prompt.

        temperature, top_k, top_p: how the next token is chosen, see `next_token_probabilities`.
        seed: repeats the draw; None draws from `te.manual_seed`'s generator.
        stop: a token id, or several, after which the text ends; it is the last id returned.
        stream: called with every new id as soon as it is drawn.
        use_cache: keep keys and values instead of computing those of the whole text again for each token.
        capture: replay what was done for one token, see `te.capture`, instead of calling the modules for each; with a
            cache only. It pays from some fifty tokens on.

        The text may outgrow the context: each token is chosen from the last context_length tokens. That window then
        slides, every position in it changes, and the cache is of no more use. A prompt may be longer, too, but not
        empty. Dropout is off meanwhile.
        """
        ids = self._checked(prompt_ids)
        if ids.ndim != 1:
            raise UserError(f"generate: continues one text at a time, expected ids (T,), got shape {ids.shape}")
        if max_new_tokens < 0:
            raise UserError(f"max_new_tokens: expected a whole number from 0, got {max_new_tokens}")
        if capture and not use_cache:
            raise UserError("generate: capture=True needs use_cache=True: without a cache, no two steps are alike")
        _check_sampling(temperature, top_k, top_p)
        random = generator() if seed is None else np.random.default_rng(seed)
        stops = [stop] if isinstance(stop, (int, np.integer)) else list(stop or ())
        stops = self._checked(stops).tolist() if stops else stops
        text, cache = ids.tolist(), self.new_cache()
        replayed = self._captured(min(len(text) + max_new_tokens, self.config.context_length)) if capture else None
        with te.no_grad(), evaluating(self):
            for _ in range(max_new_tokens):
                if replayed is not None and len(text) <= self.config.context_length:
                    logits = replayed(text)  # (V,)
                else:
                    logits = self._next_logits(text, cache if use_cache else self.new_cache())  # (V,)
                p = next_token_probabilities(logits, temperature, top_k, top_p)  # (V,)
                text.append(_draw(p, random))
                if stream is not None:
                    stream(text[-1])
                if text[-1] in stops:
                    break
        return np.array(text)

    def _next_logits(self, text: list[int], cache: Cache) -> np.ndarray:
        """The logits (V,) after the last token. The cache holds the beginning of the text, as long as that fits."""
        if len(text) > self.config.context_length:
            text, cache = text[-self.config.context_length :], self.new_cache()
        unread = text[cache[0].length :]
        logits: np.ndarray = self(np.array(unread), cache=cache, last_only=True).data[-1]  # (T,) -> (1, V) -> (V,)
        return logits

    def _captured(self, capacity: int) -> Callable[[list[int]], np.ndarray]:
        """`_next_logits` of a text that grows, up to `capacity` tokens: each token is read once, by a captured step."""
        cache, known = [nn.FixedCache(capacity) for _ in self.blocks], 0

        @te.capture
        def read(ids: np.ndarray, positions: np.ndarray) -> Tensor:
            for each in cache:
                each.positions = positions
            logits: Tensor = self(ids, cache=cache, last_only=True)  # (T,) -> (1, V)
            return logits

        def next_logits(text: list[int]) -> np.ndarray:
            nonlocal known
            logits = read(np.array(text[known:]), np.arange(known, len(text)))
            known = len(text)
            return np.asarray(logits.data[-1])  # (1, V) -> (V,)

        return next_logits

    # Looking inside --------------------------------------------------------------------------------------------------

    def next_token_distribution(
        self, text: Any, temperature: float = 1.0, tokenizer: Tokenizer | None = None, top: int = 10
    ) -> list[NextToken]:
        """The most likely next tokens, at temperature 1 and at this one, best first.

        text: ids (T,), or a str with its tokenizer; of a long one, the last context_length tokens are read.
        """
        if isinstance(text, str) and tokenizer is None:
            raise UserError("next_token_distribution: a text needs its tokenizer=; without one, pass token ids")
        ids = self._checked(tokenizer.encode(text) if isinstance(text, str) and tokenizer is not None else text)
        with te.no_grad(), evaluating(self):
            logits = self._next_logits(ids.ravel().tolist(), self.new_cache())  # (V,)
        before = next_token_probabilities(logits)  # (V,)
        after = next_token_probabilities(logits, temperature)  # (V,)
        best = np.argsort(-before, kind="stable")[:top].tolist()
        return [NextToken(i, _text_of(i, tokenizer), float(before[i]), float(after[i])) for i in best]

    def attention_maps(self, ids: Any) -> list[np.ndarray]:
        """Who looks at whom, for each block: ids (T,) -> arrays (H, T, T), row t the weights with which t looks back.

        Of a batch (B, T), arrays (B, H, T, T).
        """
        with te.no_grad(), evaluating(self), nn.record_attention() as maps:
            self(ids)
        return [each.weights for each in maps]

    def nearest(self, word: int | str, k: int = 5, tokenizer: Tokenizer | None = None) -> list[Neighbour]:
        """The k tokens whose embeddings point most nearly the same way, by the cosine of the angle between them.

        word: a token id, or a word with its tokenizer.
        """
        token = self._token(word, tokenizer)
        return self._closest(self._directions()[token], {token}, k, tokenizer)

    def analogy(
        self, a: int | str, b: int | str, c: int | str, k: int = 5, tokenizer: Tokenizer | None = None
    ) -> list[Neighbour]:
        """a is to b as c is to ...: the tokens nearest to b - a + c, other than these three.

        Each embedding is first brought to length 1. Source: Mikolov, Yih & Zweig 2013, "Linguistic Regularities in
        Continuous Space Word Representations".
        """
        direction = self._directions()  # (V, E)
        a, b, c = (self._token(word, tokenizer) for word in (a, b, c))
        return self._closest(direction[b] - direction[a] + direction[c], {a, b, c}, k, tokenizer)

    def _directions(self) -> np.ndarray:
        """The rows of W_E, each of length 1: (V, E)."""
        W_E = self.embed.weight.data
        length = np.linalg.norm(W_E, axis=-1, keepdims=True)  # (V, 1)
        return np.asarray(W_E / np.where(length == 0, 1, length))

    def _closest(
        self, vector: np.ndarray, but: Collection[int], k: int, tokenizer: Tokenizer | None
    ) -> list[Neighbour]:
        """The k tokens with the largest cosine to a vector (E,)."""
        cosine = self._directions() @ vector / (np.linalg.norm(vector) or 1)  # (V, E) @ (E,) -> (V,)
        best = [i for i in np.argsort(-cosine, kind="stable").tolist() if i not in but][:k]
        return [Neighbour(i, _text_of(i, tokenizer), float(cosine[i])) for i in best]

    def _token(self, word: int | str, tokenizer: Tokenizer | None) -> int:
        """The id of a word that is one token."""
        if not isinstance(word, str):
            return int(self._checked([word])[0])
        if tokenizer is None:
            raise UserError(f"the word {word!r} needs its tokenizer=; without one, pass a token id")
        if tokenizer.missing(word):
            raise UserError(f"{word!r} is not among the {tokenizer.vocab_size} tokens that the model knows")
        ids = tokenizer.encode(word)
        if len(ids) != 1:
            raise UserError(f"{word!r} is {len(ids)} tokens; only a single token has an embedding of its own")
        return int(ids[0])

    @staticmethod
    def from_gpt2(folder: str | PathLike[str]) -> Transformer:
        """The GPT-2 in a folder of Hugging Face's format, see `models/gpt2.py`."""
        from models.gpt2 import load_gpt2  # it builds on this file

        return load_gpt2(folder)


class NextToken(NamedTuple):
    """A token that may come next, and how likely it is."""

    id: int
    text: str | None  # None without a tokenizer
    before: float  # its probability at temperature 1, what the model has learned
    after: float  # its probability at the temperature asked for


class Neighbour(NamedTuple):
    """A token near another one."""

    id: int
    text: str | None  # None without a tokenizer
    similarity: float  # the cosine of the angle between them, 1 at most


def _text_of(id: int, tokenizer: Tokenizer | None) -> str | None:
    return None if tokenizer is None else tokenizer.decode([id])


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, dropout is off; afterwards every module is as it was."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


# Choosing the next token ---------------------------------------------------------------------------------------------


def next_token_probabilities(
    logits: np.ndarray, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """softmax(logits / temperature), then only the best tokens: (V,) -> (V,).

    temperature: below 1 the likely becomes likelier, above 1 all become more alike; 0 takes the best token (greedy).
    top_k: keep the k most likely tokens (Fan, Lewis & Dauphin 2018, arXiv:1805.04833).
    top_p: keep the most likely tokens that together reach this probability (Holtzman et al. 2019, arXiv:1904.09751).
    What is kept is scaled to add up to 1; top_k comes before top_p.

    >>> next_token_probabilities(np.log([0.1, 0.6, 0.3]), top_k=2).round(3).tolist()
    [0.0, 0.667, 0.333]
    """
    _check_sampling(temperature, top_k, top_p)
    logits = np.asarray(logits, dtype=np.float64)
    best = logits.max()
    if not np.isfinite(best):
        raise UserError("the logits are not finite numbers: the model has diverged; train it with a smaller step")
    if temperature == 0:
        return np.asarray(np.arange(len(logits)) == logits.argmax(), dtype=np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature makes -inf of what is not the best: exp(-inf) = 0
        p = np.exp((logits - best) / temperature)  # subtracting the best changes nothing and never overflows
    p /= p.sum()
    if top_k is not None:
        p[np.argsort(-p, kind="stable")[top_k:]] = 0
        p /= p.sum()
    if top_p is not None:
        order = np.argsort(-p, kind="stable")  # (V,): most likely first
        likelier = p[order].cumsum() - p[order]  # (V,): what the tokens before each of them add up to
        p[order[likelier >= top_p]] = 0
        p /= p.sum()
    return np.asarray(p)


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature: expected 0 (always the best token) or a number above, got {temperature}")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k: expected to keep at least 1 token, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p: expected a probability above 0, up to 1, got {top_p}")


def _draw(p: np.ndarray, random: np.random.Generator) -> int:
    """A token id, each with its probability: the first whose probability and those before it exceed a random number."""
    upto = p.cumsum()  # (V,)
    upto /= upto[-1]
    return int(upto.searchsorted(random.random(), side="right"))  # as random.choice(V, p=p), in a third of its time
