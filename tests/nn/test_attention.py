"""Attention: one head against its formula, all heads against one head at a time and against PyTorch."""

import copy
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.requires import require_torch
from tests.samples import real
from tinygrad_edu import ShapeError, Tensor, nn

B, T, S, E, H = 2, 5, 4, 8, 2
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(B, T, E))
MEMORY = RANDOM.normal(size=(B, S, E))
CAUSAL = np.tri(T, dtype=bool)
MASKS: dict[str, Any] = {
    "none": None,
    "causal as booleans": CAUSAL,
    "causal as floats": np.where(CAUSAL, 0.0, -np.inf),
    "padding": nn.padding_mask([3, 5], T),
    "of each text": RANDOM.random((B, T, T)) > 0.3,
    "bias": RANDOM.normal(size=(T, T)),
}


def heads(bias: bool = True, dropout: float = 0.0, seed: int = 1) -> nn.MultiHeadAttention:
    te.manual_seed(seed)
    return nn.MultiHeadAttention(E, H, bias=bias, dropout=dropout, dtype=np.float64)


def leaf(array: Any) -> Tensor:
    return Tensor(array, requires_grad=True)


class TestOneHead:
    def test_is_its_formula(self) -> None:
        head = nn.SelfAttention(E, 3, dtype=np.float64)
        q, k, v = (
            X @ part.weight.data.T + part.bias.data  # type: ignore[union-attr]
            for part in (head.query, head.key, head.value)
        )
        scores = np.where(CAUSAL, q @ k.swapaxes(-1, -2) / math.sqrt(3), -np.inf)
        weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(head.weights(Tensor(X), is_causal=True).data, weights, atol=1e-12)
        np.testing.assert_allclose(head(Tensor(X), is_causal=True).data, weights @ v, atol=1e-12)

    def test_is_made_of_primitive_steps(self) -> None:
        output = nn.SelfAttention(E, 3)(Tensor(X[0], dtype=np.float32), is_causal=True)
        names = {step.op.name for step in te.sweep(output.sum())}
        assert names >= {"matmul", "div", "where", "softmax", "swapaxes", "linear"}

    def test_gradients(self) -> None:
        head = nn.SelfAttention(E, 3, dtype=np.float64)
        assert te.gradcheck(lambda x: head(x, is_causal=True), X[0])


class TestAllHeads:
    @pytest.mark.parametrize("name", MASKS)
    @pytest.mark.parametrize("bias", [True, False])
    def test_give_the_numbers_and_gradients_of_one_head_at_a_time(self, name: str, bias: bool) -> None:
        fast = heads(bias)
        slow = nn.HeadByHead.of(fast)
        x, y = leaf(X), leaf(X)
        is_causal = name in ("bias", "padding")
        one, other = fast(x, mask=MASKS[name], is_causal=is_causal), slow(y, MASKS[name], is_causal)
        np.testing.assert_allclose(one.data, other.data, atol=1e-12)
        for output in (one, other):
            (output * output).sum().backward()
        np.testing.assert_allclose(x.grad.data, y.grad.data, atol=1e-10)  # type: ignore[union-attr]
        np.testing.assert_allclose(fast.output.weight.grad.data, slow.output.weight.grad.data, atol=1e-10)
        for part in ("query", "key", "value"):
            for kind in ("weight", "bias") if bias else ("weight",):
                together = getattr(getattr(fast, part), kind).grad.data
                apart = [getattr(getattr(head, part), kind).grad.data for head in slow.heads]
                np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-10)

    @pytest.mark.parametrize("cross", [False, True])
    @pytest.mark.parametrize("masked", [False, True])
    def test_are_those_of_pytorch(self, cross: bool, masked: bool) -> None:
        torch = require_torch()
        ours = heads()
        theirs = torch.nn.MultiheadAttention(E, H, batch_first=True, dtype=torch.float64)
        parts = (ours.query, ours.key, ours.value)
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.tensor(np.concatenate([part.weight.data for part in parts])))
            theirs.in_proj_bias.copy_(torch.tensor(np.concatenate([part.bias.data for part in parts])))
            theirs.out_proj.weight.copy_(torch.tensor(ours.output.weight.data))
            theirs.out_proj.bias.copy_(torch.tensor(ours.output.bias.data))  # type: ignore[union-attr]
        memory = MEMORY if cross else X
        allowed = np.tri(T, memory.shape[1], dtype=bool) if masked else np.ones((T, memory.shape[1]), dtype=bool)
        x, m = leaf(X), leaf(memory)
        tx, tm = torch.tensor(X, requires_grad=True), torch.tensor(memory, requires_grad=True)
        y, weights = ours(x, m, mask=allowed, return_weights=True)
        z, their_weights = theirs(tx, tm, tm, attn_mask=torch.tensor(~allowed), average_attn_weights=False)
        np.testing.assert_allclose(y.data, z.detach().numpy(), atol=1e-12)
        np.testing.assert_allclose(weights.data, their_weights.detach().numpy(), atol=1e-12)
        ours(x, m, mask=allowed).square().sum().backward()
        z.square().sum().backward()
        np.testing.assert_allclose(x.grad.data, tx.grad.numpy(), atol=1e-10)  # type: ignore[union-attr]
        np.testing.assert_allclose(m.grad.data, tm.grad.numpy(), atol=1e-10)  # type: ignore[union-attr]
        gradient = np.concatenate([part.weight.grad.data for part in parts])  # type: ignore[union-attr]
        np.testing.assert_allclose(gradient, theirs.in_proj_weight.grad.numpy(), atol=1e-10)

    def test_gradients_in_query_key_and_value(self) -> None:
        attention = heads()
        assert te.gradcheck(lambda q, k, v: attention(q, k, v), X[:1, :3], MEMORY[:1], MEMORY[:1] * 0.5)

    def test_a_single_text_needs_no_batch(self) -> None:
        attention = heads()
        together = attention(Tensor(X), is_causal=True).data
        np.testing.assert_allclose(attention(Tensor(X[1]), is_causal=True).data, together[1], atol=1e-12)

    def test_a_mask_for_each_head(self) -> None:
        attention, masks = heads(), RANDOM.random((B, H, T, T)) > 0.3
        masks |= np.eye(T, dtype=bool)
        _, weights = attention(Tensor(X), mask=masks, return_weights=True)
        assert (weights.data[~masks] == 0).all()
        assert (weights.data[masks] > 0).all()

    def test_nobody_sees_the_future(self) -> None:
        attention, x = heads(), leaf(X)
        attention(x, is_causal=True)[:, 2].sum().backward()
        assert x.grad is not None
        assert (x.grad.data[:, 3:] == 0).all()
        assert (x.grad.data[:, :3] != 0).all()

    def test_padding_never_leaks(self) -> None:
        attention, mask = heads(), nn.padding_mask([3, 5], T)
        changed = X.copy()
        changed[0, 3:] = 1e6
        x = leaf(X)
        output = attention(x, mask=mask)
        np.testing.assert_array_equal(attention(Tensor(changed), mask=mask).data[0, :3], output.data[0, :3])
        output[0, :3].sum().backward()
        assert x.grad is not None
        assert (x.grad.data[0, 3:] == 0).all()

    def test_a_query_that_may_look_at_nothing_gets_zeros(self) -> None:
        attention, mask, x = heads(), np.ones((T, T), dtype=bool), leaf(X)
        mask[2] = False
        output = attention(x, mask=mask)
        np.testing.assert_allclose(output.data[:, 2], np.broadcast_to(attention.output.bias.data, (B, E)))  # type: ignore[union-attr]
        output.sum().backward()
        assert np.isfinite(x.grad.data).all()  # type: ignore[union-attr]

    def test_a_float_mask_that_learns(self) -> None:
        attention, bias = heads(), leaf(MASKS["bias"])
        attention(Tensor(X), mask=bias).square().sum().backward()
        assert bias.grad is not None
        assert bias.grad.shape == (T, T)
        assert te.gradcheck(lambda m: attention(Tensor(X), mask=m), MASKS["bias"])

    @pytest.mark.parametrize("name", MASKS)
    def test_float32_stays_float32(self, name: str) -> None:
        attention = nn.MultiHeadAttention(E, H)
        x = Tensor(X, dtype=np.float32)
        assert attention(x, mask=MASKS[name]).dtype == np.float32
        assert attention(x, mask=MASKS[name], is_causal=True, return_weights=True)[1].dtype == np.float32

    def test_dropout_drops_while_training_only(self) -> None:
        attention = heads(dropout=0.5)
        x = Tensor(X)
        te.manual_seed(0)
        first, second = attention(x), attention(x)
        assert not np.array_equal(first.data, second.data)
        te.manual_seed(0)
        np.testing.assert_array_equal(attention(x, return_weights=True)[0].data, first.data)
        attention.eval()
        np.testing.assert_array_equal(attention(x).data, attention(x).data)

    def test_names_and_errors(self) -> None:
        names = [name for name, _ in heads().named_parameters()]
        assert names == [
            f"{part}.{kind}" for part in ("query", "key", "value", "output") for kind in ("weight", "bias")
        ]
        with pytest.raises(ValueError, match="embed_dim=8 and num_heads=3"):
            nn.MultiHeadAttention(8, 3)
        with pytest.raises(ValueError, match="dropout is a probability, got 2"):
            nn.MultiHeadAttention(8, 2, dropout=2)
        with pytest.raises(TypeError, match=r"mask must be boolean .* got int64; for zeros and ones"):
            heads()(Tensor(X), mask=np.ones((T, T), dtype=np.int64))
        with pytest.raises(ShapeError, match=r"linear \(in query\).*in_features=8"):
            heads()(Tensor(X[..., :5]))
        with pytest.raises(ShapeError, match=r"mask does not broadcast to \(..., 5, 5\)"):
            heads()(Tensor(X), mask=np.ones((T, T + 1), dtype=bool))


class TestWeights:
    def test_reading_them_changes_nothing(self) -> None:
        attention, x, y = heads(), leaf(X), leaf(X)
        plain = attention(x, is_causal=True)
        output, weights = attention(y, is_causal=True, return_weights=True)
        np.testing.assert_allclose(output.data, plain.data, atol=1e-12)
        for each in (plain, output):
            each.square().sum().backward()
        np.testing.assert_allclose(x.grad.data, y.grad.data, atol=1e-10)  # type: ignore[union-attr]
        assert weights.shape == (B, H, T, T)
        np.testing.assert_allclose(weights.data.sum(axis=-1), 1)
        assert (weights.data[..., ~CAUSAL] == 0).all()

    @pytest.mark.parametrize("recording", [True, False])
    def test_a_recorder_collects_those_of_all_layers(self, recording: bool) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                self.first, self.second = heads(seed=1), heads(seed=2)

            def forward(self, x: Tensor) -> Any:
                return self.second(self.first(x), Tensor(MEMORY))

        model = Two()
        with te.enable_grad() if recording else te.no_grad(), nn.record_attention() as maps:
            model(Tensor(X))
        model(Tensor(X))  # not recorded any more
        assert [(each.module, each.weights.shape) for each in maps] == [
            ("first", (B, H, T, T)),
            ("second", (B, H, T, S)),
        ]

    def test_an_error_ends_the_recording(self) -> None:
        with pytest.raises(RuntimeError), nn.record_attention() as maps:
            raise RuntimeError
        heads()(Tensor(X))
        assert maps == []

    def test_the_normal_path_is_fused(self) -> None:
        names = [step.op.name for step in te.sweep(heads()(leaf(X), is_causal=True).sum())]
        assert names.count("attention") == 3  # query, key, value
        assert "softmax" not in names


class TestCache:
    @pytest.mark.parametrize("pieces", [[1, 1, 1, 1, 1], [3, 2], [2, 1, 2], [5]])
    @pytest.mark.parametrize("mask", [None, "boolean", "float"])
    def test_piece_by_piece_is_all_at_once(self, pieces: list[int], mask: str | None) -> None:
        attention, cache, x = heads(), nn.KeyValueCache(), leaf(X)
        full = {None: None, "boolean": nn.padding_mask([3, 5], T), "float": MASKS["bias"]}[mask]
        whole = attention(x, mask=full, is_causal=True)
        outputs, start = [], 0
        for length in pieces:
            end = start + length
            part = full[..., :end] if mask == "boolean" else None if full is None else full[start:end, :end]
            outputs.append(attention(x[:, start:end], mask=part, is_causal=True, cache=cache))
            start = end
            assert cache.length == end
        together = te.concatenate(outputs, axis=1)
        np.testing.assert_allclose(together.data, whole.data, atol=1e-12)
        (expected,) = te.grad(whole.square().sum(), [x])
        (found,) = te.grad(together.square().sum(), [x])
        np.testing.assert_allclose(found.data, expected.data, atol=1e-10)

    def test_is_empty_at_first(self) -> None:
        assert nn.KeyValueCache().length == 0

    def test_what_it_returned_stays_and_copies_go_their_own_ways(self) -> None:
        def token(i: int) -> Tensor:
            return Tensor(np.full((2, 1, 3), float(i)))

        def held(cache: nn.KeyValueCache) -> list[float]:
            assert cache.key is not None
            assert cache.value is not None
            np.testing.assert_array_equal(cache.key.data, cache.value.data / 10)
            return cache.key.data[1, :, 2].tolist()

        cache = nn.KeyValueCache()
        returned = [cache.append(token(i), token(10 * i))[0] for i in range(6)]
        twin = copy.copy(cache)
        cache.append(token(6), token(60))
        twin.append(token(7), token(70))
        cache.append(token(8), token(80))
        assert held(cache) == [0, 1, 2, 3, 4, 5, 6, 8]
        assert held(twin) == [0, 1, 2, 3, 4, 5, 7]
        for i, key in enumerate(returned):
            assert key.data[0, :, 0].tolist() == list(range(i + 1))
        assert cache.key is not None
        assert cache.value is not None
        cache.key, cache.value = cache.key.flip(-2), cache.value.flip(-2)
        cache.append(token(9), token(90))
        assert held(cache) == [8, 6, 5, 4, 3, 2, 1, 0, 9]

    def test_refuses_another_batch(self) -> None:
        cache = nn.KeyValueCache()
        cache.append(Tensor(real(2, 1, 3)), Tensor(real(2, 1, 3)))
        with pytest.raises(te.ShapeError, match="concatenate"):
            cache.append(Tensor(real(1, 1, 3)), Tensor(real(1, 1, 3)))


class TestFixedCache:
    @pytest.mark.parametrize("pieces", [[1, 1, 1, 1, 1], [3, 2], [2, 1, 2], [5]])
    def test_does_what_a_growing_one_does(self, pieces: list[int]) -> None:
        attention, growing, fixed = heads(), nn.KeyValueCache(), nn.FixedCache(T + 2)
        start = 0
        with te.no_grad():
            for length in pieces:
                x = Tensor(X[:, start : start + length])
                fixed.positions = np.arange(start, start + length)
                expected = attention(x, is_causal=True, cache=growing)
                np.testing.assert_array_equal(attention(x, is_causal=True, cache=fixed).data, expected.data)
                start += length
                assert fixed.length == start

    def test_is_replayed(self) -> None:
        attention, cache = heads(), nn.FixedCache(T)

        @te.capture
        def step(x: Any, positions: Any) -> Tensor:
            cache.positions = positions
            result: Tensor = attention(x, is_causal=True, cache=cache)
            return result

        with te.no_grad():
            whole = attention(Tensor(X), is_causal=True).data
            found = [step(X[:, i : i + 1], np.array([i])).data for i in range(T)]
        np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-12)
        with pytest.raises(te.OutOfRangeError, match="room for 5 tokens, got one at position 5"), te.no_grad():
            step(X[:, :1], np.array([5]))

    def test_refuses_gradients_and_places_outside(self) -> None:
        cache = nn.FixedCache(3)
        with pytest.raises(te.GraphError, match="no_grad"):
            cache.append(leaf(real(2, 1, 3)), leaf(real(2, 1, 3)))
        for first in (-1, 3):
            cache.positions = np.array([first])
            with pytest.raises(te.OutOfRangeError, match="room for 3 tokens"):
                cache.append(Tensor(real(2, 1, 3)), Tensor(real(2, 1, 3)))


class TestPositions:
    def test_sinusoidal_is_its_formula(self) -> None:
        table = nn.SinusoidalPositionalEncoding(6, 5).table
        for p in range(6):
            for i in range(5):
                angle = p / 10000 ** ((i - i % 2) / 5)
                assert table[p, i] == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-6)

    def test_a_step_turns_every_pair_by_its_own_angle(self) -> None:
        table = nn.SinusoidalPositionalEncoding(50, 8, dtype=np.float64).table
        hands = table[:, 1::2] + 1j * table[:, 0::2]
        turns = hands[1:] / hands[:-1]
        np.testing.assert_allclose(turns, np.broadcast_to(turns[0], turns.shape), atol=1e-12)

    def test_sinusoidal_is_not_learned(self) -> None:
        encoding = nn.SinusoidalPositionalEncoding(6, 4)
        assert encoding.num_parameters() == 0
        assert not encoding(np.arange(3)).requires_grad
        assert encoding(np.arange(3)).dtype == np.float32

    def test_learned_is_a_table(self) -> None:
        te.manual_seed(0)
        encoding = nn.LearnedPositionalEncoding(100, 64)
        assert abs(encoding.weight.data.std() - 0.02) < 0.001
        rows = encoding(np.array([[2, 0], [2, 1]]))
        np.testing.assert_array_equal(rows.data, encoding.weight.data[[[2, 0], [2, 1]]])
        rows.sum().backward()
        assert encoding.weight.grad.data[:4, 0].tolist() == [1, 1, 2, 0]

    @pytest.mark.parametrize("kind", [nn.SinusoidalPositionalEncoding, nn.LearnedPositionalEncoding])
    def test_a_position_beyond_the_context_is_an_error(self, kind: Any) -> None:
        with pytest.raises(IndexError, match="6 is out of range"):
            kind(6, 4)(np.arange(7))
        assert kind(6, 4).label().endswith("(6 × 4)")


def test_attention_is_the_function() -> None:
    attention = heads()
    q, k, v = (attention._split(part(Tensor(X))) for part in (attention.query, attention.key, attention.value))
    expected = attention.output(attention._join(F.scaled_dot_product_attention(q, k, v)))
    np.testing.assert_array_equal(attention(Tensor(X)).data, expected.data)
