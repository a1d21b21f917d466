"""Attention: how a token gathers what it needs from other tokens, first one head step by step, then all heads at once.

Every token asks a question (its query q), says what it can answer (its key k), and holds an answer (its value v). A
token's output is the average of all answers, weighed by how well each key fits its question:

    attention(q, k, v) = softmax(q kᵀ / √D + mask) v       (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)

In shapes, B is the batch, T the number of queries, S of keys, E the width of a token (embed_dim), H the number of heads
and D = E / H the width of a head. A mask says which query may attend to which key, (T, S) or (B, T, S): boolean, True
where it may; or floats that are added to the scores, -inf where it may not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

import tinygrad_edu.functional as F
from tinygrad_edu.autograd import Watcher, effect, state
from tinygrad_edu.errors import GraphError, InputError, OutOfRangeError
from tinygrad_edu.nn import init
from tinygrad_edu.nn.layers import Linear, check_sizes
from tinygrad_edu.nn.module import Module, ModuleList, Parameter
from tinygrad_edu.ops import fused
from tinygrad_edu.tensor import Operand, Tensor, apply, concatenate, here, where

# Where the tokens stand ----------------------------------------------------------------------------------------------


class SinusoidalPositionalEncoding(Module):
    """P[p, 2i] = sin(p / 10000^(2i / E)), P[p, 2i + 1] = cos(p / 10000^(2i / E)): a row of E numbers for position p.

    Each pair of columns is the hand of a clock, the first one fast, each later one slower: together they tell the
    position, and a step ahead turns every hand by its own fixed angle. Nothing is learned: `table` (context_length, E)
    is an array, no parameter. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """

    def __init__(self, context_length: int, embed_dim: int, dtype: Any = np.float32) -> None:
        check_sizes(self, context_length=context_length, embed_dim=embed_dim)
        self.context_length, self.embed_dim = context_length, embed_dim
        pair = np.arange(embed_dim) // 2  # (E,): 0, 0, 1, 1, 2, 2, ...
        angle = np.arange(context_length)[:, None] / 10000 ** (2 * pair / embed_dim)  # (T, 1) / (E,) -> (T, E)
        angle[:, 1::2] += math.pi / 2  # cos(x) = sin(x + π/2)
        self.table = np.sin(angle).astype(dtype)

    def forward(self, positions: Any) -> Tensor:
        """Positions, integers from 0 to context_length - 1, to their rows: (...) -> (..., E)."""
        return F.embedding(positions, Tensor.wrap(self.table))

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.context_length} × {self.embed_dim}"


class LearnedPositionalEncoding(Module):
    """A table with one row of E numbers for each position, learned like any other weight. Starts as N(0, 0.02²)."""

    def __init__(self, context_length: int, embed_dim: int, dtype: Any = np.float32) -> None:
        check_sizes(self, context_length=context_length, embed_dim=embed_dim)
        self.context_length, self.embed_dim = context_length, embed_dim
        self.weight = Parameter(np.empty((context_length, embed_dim), dtype))
        init.normal_(self.weight, std=0.02)

    def forward(self, positions: Any) -> Tensor:
        """Positions, integers from 0 to context_length - 1, to their rows: (...) -> (..., E)."""
        return F.embedding(positions, self.weight)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.context_length} × {self.embed_dim}"


# Attention as it is explained: one head, one step a line -------------------------------------------------------------


class SelfAttention(Module):
    """One head: tokens that look at each other. softmax(q kᵀ / √D + mask) v, shapes (..., T, E) -> (..., T, D).

    The steps are primitive ops, to be read and drawn. `MultiHeadAttention` computes the same with all heads at once.
    """

    def __init__(self, embed_dim: int, head_dim: int, bias: bool = True, dtype: Any = np.float32) -> None:
        self.embed_dim, self.head_dim = embed_dim, head_dim
        self.query = Linear(embed_dim, head_dim, bias, dtype)
        self.key = Linear(embed_dim, head_dim, bias, dtype)
        self.value = Linear(embed_dim, head_dim, bias, dtype)

    def weights(self, x: Tensor, mask: Any = None, is_causal: bool = False) -> Tensor:
        """How much each token (row) attends to each token (column); a row adds up to 1. (..., T, E) -> (..., T, T)."""
        q, k = self.query(x), self.key(x)  # (..., T, E) -> (..., T, D), twice
        scores: Tensor = q @ k.mT  # (..., T, D) @ (..., D, T) -> (..., T, T): each query with each key
        scores = scores / math.sqrt(self.head_dim)  # a sum of D products grows as √D: this keeps the softmax soft
        if is_causal:
            past = np.tri(x.shape[-2], dtype=bool)  # (T, T): True at and left of the diagonal
            scores = where(past, scores, -np.inf)  # token t may look at tokens 0 to t; exp(-inf) = 0
        if mask is not None:
            mask = _as_mask(mask, scores)
            scores = where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        return F.softmax(scores)

    def forward(self, x: Tensor, mask: Any = None, is_causal: bool = False) -> Tensor:
        """Tokens to what they gathered: (..., T, E) -> (..., T, D). The mask broadcasts to (..., T, T)."""
        weights = self.weights(x, mask, is_causal)  # (..., T, E) -> (..., T, T)
        v: Tensor = self.value(x)  # (..., T, E) -> (..., T, D)
        return weights @ v  # (..., T, T) @ (..., T, D) -> (..., T, D): the weighted sum of the values

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.embed_dim} → {self.head_dim}"


class HeadByHead(Module):
    """Several heads, each with questions of its own, side by side and mixed by W_O: (..., T, E) -> (..., T, E).

    The same function as `MultiHeadAttention` with itself as key and value, one head after the other.
    """

    def __init__(self, embed_dim: int, num_heads: int, bias: bool = True, dtype: Any = np.float32) -> None:
        head_dim = _head_dim("HeadByHead", embed_dim, num_heads)
        self.heads = ModuleList(SelfAttention(embed_dim, head_dim, bias, dtype) for _ in range(num_heads))
        self.output = Linear(embed_dim, embed_dim, bias, dtype)  # W_O

    def forward(self, x: Tensor, mask: Any = None, is_causal: bool = False) -> Tensor:
        """Tokens to what all heads gathered: (..., T, E) -> (..., T, E)."""
        found = [head(x, mask, is_causal) for head in self.heads]  # H times (..., T, D)
        together = concatenate(found, axis=-1)  # (..., T, H · D) = (..., T, E)
        mixed: Tensor = self.output(together)
        return mixed

    @staticmethod
    def of(attention: MultiHeadAttention) -> HeadByHead:
        """The same weights, cut into heads: head h owns rows h · D to (h + 1) · D of each projection."""
        weight = attention.output.weight
        bias = attention.output.bias is not None
        result = HeadByHead(attention.embed_dim, attention.num_heads, bias, weight.dtype)
        state = {f"output.{name}": values for name, values in attention.output.state_dict().items()}
        for kind in ("query", "key", "value"):
            for name, values in getattr(attention, kind).state_dict().items():  # (E, E) and (E,)
                rows = np.split(values, attention.num_heads)  # H times (D, E) or (D,)
                state.update({f"heads.{h}.{kind}.{name}": row for h, row in enumerate(rows)})
        result.load_state_dict(state)
        return result


# Attention as it is used: all heads in one product -------------------------------------------------------------------


class MultiHeadAttention(Module):
    """W_O [head₁ ... head_H] with head_h = attention(q W_Qʰ, k W_Kʰ, v W_Vʰ), all heads batched and fused.

    embed_dim: E, the width of queries, keys, values and output. num_heads: H, which divides E; D = E / H.
    dropout: the probability of dropping an attention weight while training.
    `query`, `key`, `value` and `output` (W_O) are Linear layers E -> E; the rows of the first three belong to the heads
    in turn, D each. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.

    >>> attention = MultiHeadAttention(embed_dim=8, num_heads=2)
    >>> x = Tensor(np.ones((1, 3, 8), np.float32))
    >>> attention(x, is_causal=True).shape
    (1, 3, 8)
    """

    def __init__(
        self, embed_dim: int, num_heads: int, bias: bool = True, dropout: float = 0.0, dtype: Any = np.float32
    ) -> None:
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = _head_dim("MultiHeadAttention", embed_dim, num_heads)
        if not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(f"MultiHeadAttention: dropout is a probability, got {dropout!r:.40}")
        self.dropout = dropout
        self.query = Linear(embed_dim, embed_dim, bias, dtype)
        self.key = Linear(embed_dim, embed_dim, bias, dtype)
        self.value = Linear(embed_dim, embed_dim, bias, dtype)
        self.output = Linear(embed_dim, embed_dim, bias, dtype)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Any = None,
        is_causal: bool = False,
        return_weights: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """What each query gathers: query (..., T, E), key and value (..., S, E) -> (..., T, E).

        key: what to look at, the queries themselves by default (self-attention); value: the key by default.
        mask: broadcasts to (..., T, S), for all heads alike; with an axis more than the query, to (..., H, T, S).
        is_causal: query t may look at keys 0 to t only, and at everything in the cache.
        return_weights: return (output, weights) with the attention weights (..., H, T, S) as a Tensor.
        cache: holds the keys and values of earlier calls, which stand before the new ones.
        """
        key = query if key is None else key
        value = key if value is None else value
        q = self._split(self.query(query))  # (..., T, E) -> (..., H, T, D)
        k = self._split(self.key(key))  # (..., S, E) -> (..., H, S, D)
        v = self._split(self.value(value))  # (..., S, E) -> (..., H, S, D)
        if mask is not None:
            mask = _as_mask(mask, q)
            mask = mask.expand_dims(-3) if 2 < mask.ndim <= query.ndim else mask  # (..., T, S) -> (..., 1, T, S)
        if cache is not None:
            k, v = cache.append(k, v)  # (..., H, T, D) -> (..., H, S, D): also those of earlier tokens
            if is_causal:
                mask, is_causal = _both(cache.past(q.shape[-2]), mask), False
        weights, mixed = self._attend(q, k, v, mask, is_causal, return_weights)  # (..., H, T, D)
        output = self.output(self._join(mixed))  # (..., H, T, D) -> (..., T, E)
        return (output, weights) if return_weights else output

    def _split(self, x: Tensor) -> Tensor:
        """Cut each token into heads, and put the heads next to the batch: (..., T, E) -> (..., H, T, D)."""
        return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim).swapaxes(-3, -2)

    def _join(self, x: Tensor) -> Tensor:
        """Put the heads of each token side by side again: (..., H, T, D) -> (..., T, E)."""
        x = x.swapaxes(-3, -2)  # (..., H, T, D) -> (..., T, H, D)
        return x.reshape(*x.shape[:-2], self.embed_dim)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, return_weights: bool
    ) -> tuple[Tensor | None, Tensor]:
        """The weights (..., H, T, S), if somebody wants them, and the weighted sum of the values (..., H, T, D)."""
        dropout = self.dropout if self.training else 0.0
        maps = _maps.get()
        if maps is None and not return_weights:
            return None, F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        weights = apply(fused.attention_weights, q, k, mask, is_causal=is_causal)  # (..., H, T, S)
        if maps is not None:
            scope = state.scope.get()
            maps.append(AttentionMap(scope.path if scope else "", weights.data))
        return weights, F.dropout(weights, dropout) @ v  # (..., H, T, S) @ (..., H, S, D) -> (..., H, T, D)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.embed_dim}, {self.num_heads} heads of {self.head_dim}"


class KeyValueCache:
    """The keys and values of all tokens that one attention layer has read: `key` and `value`, (..., H, S, D).

    With causal attention, a token's key and value never change when another token follows. So a text that grows by one
    token needs one new key, value and query, instead of all of them again. Use a cache for one text and one layer.
    """

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None
        self._rooms: dict[str, tuple[Tensor, np.ndarray]] = {}  # key and value, and the memory they are the start of

    @property
    def length(self) -> int:
        """S, how many tokens it holds."""
        return 0 if self.key is None else self.key.shape[-2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add new keys and values (..., H, T, D) behind the known ones; returns all, (..., H, S + T, D)."""
        self.key, self.value = self._extended("key", self.key, key), self._extended("value", self.value, value)
        return self.key, self.value

    def past(self, new: int) -> np.ndarray | None:
        """What the last `new` tokens may look at, (new, S): all before them, and of the new ones up to themselves."""
        if new == 1:
            return None  # the last token sees everything
        return np.tri(new, self.length, self.length - new, dtype=bool)

    def _extended(self, name: str, known: Tensor | None, new: Tensor) -> Tensor:
        """Both in a row. Where nothing is recorded, in memory with room for as many more, so that little is copied."""
        if known is None:
            return new
        alike = known.shape[:-2] == new.shape[:-2] and known.shape[-1] == new.shape[-1] and known.dtype == new.dtype
        if known.requires_grad or new.requires_grad or state.watchers.get() or not alike:
            return concatenate([known, new], axis=-2)
        start, end = known.shape[-2], known.shape[-2] + new.shape[-2]
        made, room = self._rooms.get(name, (None, known.data))
        if made is not known or end > room.shape[-2]:  # it may also be a copy's, or what somebody assigned
            room = np.empty((*known.shape[:-2], 2 * end, known.shape[-1]), known.dtype)
            room[..., :start, :] = known.data
        room[..., start:end, :] = new.data
        both = Tensor.wrap(room[..., :end, :])
        self._rooms[name] = both, room
        return both


class FixedCache(KeyValueCache):
    """A cache that can be replayed by `te.capture`: an array tells where the next tokens stand, in memory that stays.

    capacity: for how many tokens there is room. positions: those of the next tokens, (T,) integers in a row; set it
    before each call. Keys and values that stand there are overwritten, so nothing can be recorded through this cache.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.positions = capacity, np.arange(0)

    def _extended(self, name: str, known: Tensor | None, new: Tensor) -> Tensor:
        if new.requires_grad:
            raise GraphError("FixedCache: it is written over, so no gradient can flow through it: use te.no_grad()")
        if name not in self._rooms:
            room = np.empty((*new.shape[:-2], self.capacity, new.shape[-1]), new.dtype)
            self._rooms[name] = new, room
        return Tensor.wrap(_put(self._rooms[name][1], self.positions, new._data))


@effect
def _put(room: np.ndarray, positions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Write rows (..., T, D) to their places in a room (..., capacity, D); returns it up to there, (..., S, D)."""
    start, end = int(positions[0]), int(positions[0]) + rows.shape[-2]
    if not 0 <= start <= end <= room.shape[-2]:
        raise OutOfRangeError(f"FixedCache: there is room for {room.shape[-2]} tokens, got one at position {end - 1}")
    room[..., start:end, :] = rows
    return room[..., :end, :]


# Looking at the weights ----------------------------------------------------------------------------------------------


class AttentionMap(NamedTuple):
    """Who looked at whom in one call of one `MultiHeadAttention`."""

    module: str  # its path in the model, such as blocks.0.attention
    weights: np.ndarray  # (..., H, T, S), each row adding up to 1; before dropout


_maps: ContextVar[list[AttentionMap] | None] = ContextVar("attention maps", default=None)


@contextlib.contextmanager
def record_attention() -> Iterator[list[AttentionMap]]:
    """Inside, every call of a `MultiHeadAttention` adds its weights to the list.

    >>> attention = MultiHeadAttention(embed_dim=8, num_heads=2)
    >>> with record_attention() as maps:
    ...     output = attention(Tensor(np.ones((1, 3, 8), np.float32)))
    >>> maps[0].weights.shape
    (1, 2, 3, 3)
    """
    maps: list[AttentionMap] = []
    token = _maps.set(maps)
    try:
        with Watcher():  # so that a captured step runs its modules, too
            yield maps
    finally:
        _maps.reset(token)


# Masks ---------------------------------------------------------------------------------------------------------------


def padding_mask(lengths: Any, length: int) -> np.ndarray:
    """The mask (B, 1, length) with which nobody looks at padding: text b has lengths[b] tokens, then padding.

    >>> padding_mask([1, 3], 3).tolist()
    [[[True, False, False]], [[True, True, True]]]
    """
    return np.asarray(np.arange(length) < np.asarray(lengths)[:, None, None])  # (S,) < (B, 1, 1) -> (B, 1, S)


def _as_mask(mask: Operand, like: Tensor) -> Tensor:
    """The mask as a tensor: boolean, or floats in the dtype of the scores."""
    tensor = mask if isinstance(mask, Tensor) else Tensor.wrap(np.asarray(mask))
    if tensor.dtype != bool and tensor.dtype.kind != "f":
        raise InputError(
            f"attention{here()}: the mask must be boolean (True: may attend) or floats that are added to the scores, "
            f"got {tensor.dtype}; for zeros and ones, write mask.astype(bool)"
        )
    return tensor if tensor.dtype in (bool, like.dtype) else tensor.astype(like.dtype)


def _both(past: np.ndarray | None, mask: Tensor | None) -> Tensor | None:
    """One mask of two: a key is seen where both allow it."""
    if past is None:
        return mask
    if mask is None:
        return Tensor.wrap(past)
    return Tensor.wrap(past & mask.data) if mask.dtype == bool else where(past, mask, -np.inf)


def _head_dim(name: str, embed_dim: int, num_heads: int) -> int:
    """D = E / H, checked."""
    whole = isinstance(embed_dim, (int, np.integer)) and isinstance(num_heads, (int, np.integer))
    if not whole or num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
        raise ValueError(
            f"{name}: embed_dim must be a multiple of num_heads, got embed_dim={embed_dim!r} and "
            f"num_heads={num_heads!r}"
        )
    return embed_dim // num_heads
