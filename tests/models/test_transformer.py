"""The transformer: it cannot see the future, its cache changes nothing, it chooses as told, and it learns."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models.command import UserError
from models.tokenizer import CharTokenizer, WordTokenizer
from models.transformer import ACTIVATIONS, Transformer, TransformerConfig, next_token_probabilities
from tinygrad_edu import Tensor, optim

V, C = 11, 8
TINY = TransformerConfig(vocab_size=V, context_length=C, embed_dim=8, num_heads=2, num_layers=2)
IDS = np.random.default_rng(0).integers(0, V, (2, 6))
VARIANTS = {
    "plain": TINY,
    "sinusoidal": replace(TINY, positional="sinusoidal"),
    "tied": replace(TINY, tie_weights=True),
    "no bias": replace(TINY, bias=False, activation="relu", mlp_ratio=2),
}


def build(config: TransformerConfig = TINY, seed: int = 0, spread: float = 10.0) -> Transformer:
    """A model in float64 whose weights are so large that every token counts."""
    te.manual_seed(seed)
    model = Transformer(config, dtype=np.float64)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= spread
    return model


class TestShapesAndParameters:
    def test_paths(self) -> None:
        shapes = {name: p.shape for name, p in Transformer(replace(TINY, num_layers=1)).named_parameters()}
        assert shapes == {
            "embed.weight": (V, 8),
            "positions.weight": (C, 8),
            **{
                f"blocks.0.{norm}.{kind}": (8,)
                for norm in ("attention_norm", "mlp_norm")
                for kind in ("weight", "bias")
            },
            **{f"blocks.0.attention.{part}.weight": (8, 8) for part in ("query", "key", "value", "output")},
            **{f"blocks.0.attention.{part}.bias": (8,) for part in ("query", "key", "value", "output")},
            "blocks.0.mlp.up.weight": (32, 8),
            "blocks.0.mlp.up.bias": (32,),
            "blocks.0.mlp.down.weight": (8, 32),
            "blocks.0.mlp.down.bias": (8,),
            "final_norm.weight": (8,),
            "final_norm.bias": (8,),
            "unembed.weight": (V, 8),
        }

    @pytest.mark.parametrize("name", VARIANTS)
    def test_ids_to_logits(self, name: str) -> None:
        model = Transformer(VARIANTS[name])
        for ids in (IDS, Tensor(IDS), IDS.tolist(), IDS.astype(np.uint8)):
            logits = model(ids)
            assert logits.shape == (2, 6, V)
            assert logits.dtype == np.float32
        np.testing.assert_allclose(model(IDS[1]).data, model(IDS).data[1], atol=1e-6)
        np.testing.assert_allclose(model(IDS, last_only=True).data, model(IDS).data[:, -1:], atol=1e-6)

    @pytest.mark.parametrize("name", VARIANTS)
    def test_float32_stays_float32(self, name: str) -> None:
        model = Transformer(replace(VARIANTS[name], dropout=0.1))
        F.cross_entropy(model(IDS, mask=np.ones_like(IDS, dtype=bool)), IDS, axis=-1).backward()
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {np.dtype(np.float32)}
        assert all(p.grad is not None for p in model.parameters())
        assert {each.dtype for each in model.attention_maps(IDS)} == {np.dtype(np.float32)}

    def test_tied_weights_count_once(self) -> None:
        plain, tied = Transformer(TINY), Transformer(VARIANTS["tied"])
        assert plain.num_parameters() - tied.num_parameters() == V * 8
        assert tied.unembed.weight is tied.embed.weight
        assert {"embed.weight", "unembed.weight"} <= set(tied.state_dict())
        assert len(set(tied.parameters())) == len(list(tied.parameters()))
        other = Transformer(VARIANTS["tied"])
        other.load_state_dict(tied.state_dict())
        np.testing.assert_array_equal(other(IDS).data, tied(IDS).data)

    def test_bias_can_be_left_out(self) -> None:
        assert not [name for name, _ in Transformer(VARIANTS["no bias"]).named_parameters() if name.endswith("bias")]

    @pytest.mark.parametrize("name", VARIANTS)
    def test_without_its_blocks_it_is_embedding_and_unembedding(self, name: str) -> None:
        model = build(VARIANTS[name])
        for block in model.blocks:
            for last in (block.attention.output, block.mlp.down):
                last.weight.data[...] = 0
        x = model.embed.weight.data[IDS] * (math.sqrt(8) if name == "sinusoidal" else 1)
        x = x + model.positions(np.arange(6)).data
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(model(IDS).data, x @ model.unembed.weight.data.T, atol=1e-10)

    def test_initial_values(self) -> None:
        te.manual_seed(0)
        model = Transformer(TransformerConfig(300, 100, 128, 4, 8))
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                assert not p.data.any(), name
            elif "norm" in name:
                assert (p.data == 1).all(), name
            else:
                into_stream = name.endswith(("attention.output.weight", "mlp.down.weight"))
                assert p.data.std() == pytest.approx(0.005 if into_stream else 0.02, rel=0.05), name

    def test_a_fresh_model_expects_every_token_alike(self) -> None:
        te.manual_seed(0)
        for name in VARIANTS:
            model = Transformer(replace(VARIANTS[name], vocab_size=65, embed_dim=32))
            loss = F.cross_entropy(model(IDS), (IDS + 1) % V, axis=-1).item()
            assert loss == pytest.approx(math.log(65), abs=0.1)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_activations(self, activation: str) -> None:
        assert build(replace(TINY, activation=activation))(IDS).shape == (2, 6, V)


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            *[
                ({name: wrong}, rf"expected {name} to be a whole number of at least 1, got {wrong!r}")
                for name in ("vocab_size", "context_length", "embed_dim", "num_heads", "num_layers", "mlp_ratio")
                for wrong in (0, 1.5, "4", True)
            ],
            ({"num_heads": 3}, r"embed_dim=8 must be a multiple of num_heads=3"),
            ({"dropout": 1.0}, r"dropout to be a probability from 0 to below 1, got 1.0"),
            ({"dropout": math.nan}, r"dropout to be a probability"),
            ({"dropout": "0"}, r"dropout to be a probability"),
            ({"norm_eps": 0}, r"norm_eps to be a number above 0, got 0"),
            ({"norm_eps": None}, r"norm_eps to be a number above 0"),
            ({"positional": "rotary"}, r"positional to be learned or sinusoidal, got 'rotary'"),
            ({"activation": "rleu"}, r"activation to be one of .*gelu_tanh, got 'rleu'"),
            ({"activation": ["gelu"]}, r"activation to be one of"),
            ({"tie_weights": 1}, r"tie_weights to be True or False, got 1"),
            ({"bias": "no"}, r"bias to be True or False, got 'no'"),
        ],
    )
    def test_config(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            replace(TINY, **change)

    def test_ids(self) -> None:
        model = Transformer(TINY)
        for wrong, message in (
            ([0, V], r"token id 11 is not in the vocabulary of 11 tokens, 0 to 10"),
            ([0, -1], r"token id -1 is not in the vocabulary"),
            (np.array([], dtype=int), r"there are no tokens"),
            ([[[1]]], r"expected token ids \(B, T\) or \(T,\), got shape \(1, 1, 1\)"),
            (np.zeros(C + 1, dtype=int), r"9 tokens are more than context_length=8"),
        ):
            with pytest.raises(UserError, match=message):
                model(wrong)
        with pytest.raises(TypeError, match=r"token ids are integers, got float64"):
            model(np.array([1.0]))
        with pytest.raises(TypeError, match=r"did you forget to encode"):
            model(np.array(["a"]))
        with pytest.raises(UserError, match=r"expected a boolean mask \(2, 6\), .* got bool \(6,\)"):
            model(IDS, mask=np.ones(6, dtype=bool))

    def test_generate(self) -> None:
        model = Transformer(TINY)
        for options, message in (
            ({"temperature": -1}, r"temperature: expected 0 .* got -1"),
            ({"temperature": math.nan}, r"temperature"),
            ({"top_k": 0}, r"top_k: expected to keep at least 1 token, got 0"),
            ({"top_p": 0}, r"top_p: expected a probability above 0, up to 1, got 0"),
            ({"top_p": 1.1}, r"top_p"),
            ({"max_new_tokens": -1}, r"max_new_tokens: expected a whole number from 0, got -1"),
            ({"stop": V}, r"token id 11 is not in the vocabulary"),
            ({"prompt_ids": []}, r"there are no tokens"),
            ({"prompt_ids": [V]}, r"token id 11 is not in the vocabulary"),
            ({"prompt_ids": IDS}, r"one text at a time, expected ids \(T,\), got shape \(2, 6\)"),
        ):
            with pytest.raises(UserError, match=message):
                model.generate(**{"prompt_ids": [1], "max_new_tokens": 1, **options})  # type: ignore[arg-type]

    def test_a_model_that_has_diverged(self) -> None:
        model = Transformer(TINY)
        model.unembed.weight.data[...] = np.nan
        with pytest.raises(UserError, match="not finite numbers: the model has diverged"):
            model.generate([1], 1)


def cached(model: Transformer, ids: np.ndarray, pieces: tuple[int, ...]) -> Tensor:
    """The logits of all tokens, read piece by piece."""
    cache, cuts = model.new_cache(), np.cumsum((0, *pieces))
    return te.concatenate([model(ids[..., a:b], cache=cache) for a, b in pairwise(cuts)], axis=-2)


class TestCausality:
    @pytest.mark.parametrize("name", VARIANTS)
    @pytest.mark.parametrize("pieces", [(6,), (1,) * 6, (2, 3, 1)])
    def test_no_logit_depends_on_a_later_token(self, name: str, pieces: tuple[int, ...]) -> None:
        model = build(VARIANTS[name])
        logits = cached(model, IDS, pieces).data
        for t in range(6):
            changed = IDS.copy()
            changed[:, t:] = (changed[:, t:] + 3) % V
            others = cached(model, changed, pieces).data
            np.testing.assert_array_equal(others[:, :t], logits[:, :t])
            assert (others[:, t] != logits[:, t]).any()

    @pytest.mark.parametrize("pieces", [(6,), (1,) * 6, (2, 3, 1)])
    def test_no_gradient_reaches_a_later_token(self, pieces: tuple[int, ...]) -> None:
        model, ids = build(), np.arange(6)  # every token once: row t of W_E is token t
        for t in range(6):
            model.zero_grad()
            cached(model, ids, pieces)[t, 0].backward()
            for weight in (model.embed.weight, model.positions.weight):
                assert weight.grad is not None
                moved = weight.grad.data.any(axis=-1)
                assert moved[: t + 1].all()
                assert not moved[t + 1 :].any()

    @pytest.mark.parametrize("name", VARIANTS)
    @pytest.mark.parametrize("pieces", [(1,) * 6, (2, 3, 1), (5, 1)])
    def test_cached_is_uncached(self, name: str, pieces: tuple[int, ...]) -> None:
        model = build(VARIANTS[name])
        whole, parts = model(IDS), cached(model, IDS, pieces)
        np.testing.assert_allclose(parts.data, whole.data, atol=1e-12)
        weights = list(model.parameters())
        expected = te.grad(whole.square().sum(), weights)
        found = te.grad(parts.square().sum(), weights)
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one.data, other.data, rtol=1e-8, atol=1e-8)


class TestPadding:
    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("pieces", [(6,), (4, 1, 1)])
    def test_never_leaks(self, side: str, pieces: tuple[int, ...]) -> None:
        model, length = build(), 4
        real = slice(6 - length, 6) if side == "left" else slice(0, length)
        mask = np.zeros((1, 6), dtype=bool)
        mask[:, real] = True
        alone = model(IDS[0, real]).data
        for filler in (0, 7):
            ids = np.where(mask, IDS[:1], filler)
            cache, cuts = model.new_cache(), np.cumsum((0, *pieces))
            parts = [model(ids[:, a:b], mask[:, :b], cache) for a, b in pairwise(cuts)]
            logits = te.concatenate(parts, axis=1)
            np.testing.assert_allclose(logits.data[0, real], alone, atol=1e-12)
            model.zero_grad()
            F.cross_entropy(logits[0, real], np.arange(length)).backward()
            unseen = np.setdiff1d(np.arange(V), IDS[0, real])
            assert not model.embed.weight.grad.data[unseen].any()  # type: ignore[union-attr]

    def test_ignored_targets_and_masked_keys_leave_the_loss_of_each_text_alone(self) -> None:
        model = build()
        mask = np.arange(6) < np.array([[3], [6]])
        targets = np.where(mask, IDS, -100)
        together = F.cross_entropy(model(IDS, mask), targets, axis=-1, reduction="sum").item()
        first = F.cross_entropy(model(IDS[0, :3]), IDS[0, :3], reduction="sum").item()
        second = F.cross_entropy(model(IDS[1]), IDS[1], reduction="sum").item()
        assert together == pytest.approx(first + second)


class TestGenerate:
    @pytest.mark.parametrize("name", VARIANTS)
    @pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 3}, {"seed": 3, "top_k": 4, "top_p": 0.8}])
    def test_the_cache_changes_nothing(self, name: str, options: dict[str, Any]) -> None:
        model = build(VARIANTS[name], spread=20)
        text = model.generate([1, 2, 3], 20, **options)  # outgrows the context of 8
        assert text.shape == (23,)
        assert text[:3].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(text, model.generate([1, 2, 3], 20, use_cache=False, **options))
        np.testing.assert_array_equal(text, model.generate([1, 2, 3], 20, capture=True, **options))

    def test_a_captured_text_of_many_tokens(self) -> None:
        model = build(replace(TINY, context_length=150), spread=20)  # the step is watched again on its 100th call
        np.testing.assert_array_equal(model.generate([1], 149, seed=1), model.generate([1], 149, seed=1, capture=True))

    def test_captured_it_calls_no_module_for_most_tokens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, calls = build(spread=20), []
        forward = model.forward
        monkeypatch.setattr(type(model), "forward", lambda self, *x, **more: calls.append(x) or forward(*x, **more))
        model.generate([1], 7, capture=True)
        assert len(calls) == 2
        with te.nn.record_attention() as maps:
            model.generate([1], 7, capture=True)
        assert len(maps) == 7 * TINY.num_layers
        with pytest.raises(UserError, match="use_cache"):
            model.generate([1], 7, use_cache=False, capture=True)

    def test_greedy_takes_the_best_of_the_last_tokens(self) -> None:
        model = build(spread=20)
        text = list(IDS[0])
        for _ in range(10):
            text.append(int(model(np.array(text[-C:])).data[-1].argmax()))  # the window slides
        assert model.generate(IDS[0], 10, temperature=0).tolist() == text

    def test_a_prompt_may_be_longer_than_the_context(self) -> None:
        model, prompt = build(spread=20), np.arange(30) % V
        text = model.generate(prompt, 5, temperature=0)
        np.testing.assert_array_equal(text[:30], prompt)
        np.testing.assert_array_equal(text[30:], model.generate(prompt[-C:], 5, temperature=0)[C:])

    def test_stop_and_stream(self) -> None:
        model, seen = build(spread=20), []
        text = model.generate([1], 50, seed=0, stream=seen.append).tolist()
        assert text[1:] == seen
        stop = text[4]
        cut = model.generate([1], 50, seed=0, stop=stop).tolist()
        assert cut == text[: text.index(stop, 1) + 1]
        assert model.generate([1], 50, seed=0, stop=[stop]).tolist() == cut
        assert model.generate([1], 50, seed=0, stop={*range(V)}).tolist() == text[:2]
        assert model.generate([stop], 0).tolist() == [stop]

    def test_the_seed_repeats_it(self) -> None:
        model = build()
        assert model.generate([1], 30, seed=1).tolist() == model.generate([1], 30, seed=1).tolist()
        assert model.generate([1], 30, seed=1).tolist() != model.generate([1], 30, seed=2).tolist()
        te.manual_seed(5)
        first = model.generate([1], 30).tolist()
        assert first != model.generate([1], 30).tolist()
        te.manual_seed(5)
        assert first == model.generate([1], 30).tolist()

    def test_dropout_is_off_meanwhile_and_back_afterwards(self) -> None:
        model = build(replace(TINY, dropout=0.5), spread=20)
        model.blocks[0].eval()
        assert model.generate([1], 9, temperature=0).tolist() == model.generate([1], 9, temperature=0).tolist()
        assert model.training
        assert model.blocks[1].dropout.training
        assert not model.blocks[0].dropout.training

        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model.generate([1], 5, stream=interrupt)
        assert model.training

    def test_nothing_is_recorded(self) -> None:
        model = build()
        te.manual_seed(0)
        model.generate([1], 5)
        assert all(p.grad is None for p in model.parameters())


LOGITS = np.log([0.5, 0.05, 0.3, 0.15])


class TestSampling:
    def test_temperature(self) -> None:
        np.testing.assert_allclose(next_token_probabilities(LOGITS), [0.5, 0.05, 0.3, 0.15])
        cold = np.array([0.5, 0.05, 0.3, 0.15]) ** 2
        np.testing.assert_allclose(next_token_probabilities(LOGITS, 0.5), cold / cold.sum())
        np.testing.assert_allclose(next_token_probabilities(LOGITS, 1e9), [0.25] * 4)
        for cold_enough in (0, 1e-3, 1e-320):
            np.testing.assert_allclose(next_token_probabilities(LOGITS, cold_enough), [1, 0, 0, 0], atol=1e-100)

    def test_top_k(self) -> None:
        np.testing.assert_allclose(next_token_probabilities(LOGITS, top_k=2), [0.625, 0, 0.375, 0])
        np.testing.assert_allclose(next_token_probabilities(LOGITS, top_k=9), np.exp(LOGITS))
        assert np.count_nonzero(next_token_probabilities(np.zeros(5), top_k=2)) == 2  # of equals, exactly k

    def test_top_p(self) -> None:
        for top_p, kept in ((0.1, [0]), (0.49, [0]), (0.51, [0, 2]), (0.9, [0, 2, 3]), (1.0, [0, 1, 2, 3])):
            p = next_token_probabilities(LOGITS, top_p=top_p)
            assert np.flatnonzero(p).tolist() == kept
            np.testing.assert_allclose(p[kept], np.exp(LOGITS)[kept] / np.exp(LOGITS)[kept].sum())
        np.testing.assert_allclose(next_token_probabilities(LOGITS, top_k=3, top_p=0.6), [0.625, 0, 0.375, 0])

    def test_large_and_impossible_logits(self) -> None:
        np.testing.assert_allclose(next_token_probabilities(np.array([1e5, 1e5, -np.inf])), [0.5, 0.5, 0])

    def test_generated_tokens_have_these_frequencies(self) -> None:
        model = build(replace(TINY, vocab_size=4, context_length=1))
        model.unembed.weight.data[...] = 0
        model.final_norm.bias.data[...] = np.eye(8)[0]  # type: ignore[union-attr]
        model.final_norm.weight.data[...] = 0
        model.unembed.weight.data[:, 0] = LOGITS  # whatever it reads, it says LOGITS
        for options in ({}, {"temperature": 0.5}, {"top_k": 2}, {"temperature": 2.0, "top_p": 0.8}):
            text = model.generate([0], 500, seed=0, **options)  # type: ignore[arg-type]
            expected = next_token_probabilities(LOGITS, **options)  # type: ignore[arg-type]
            np.testing.assert_allclose(np.bincount(text[1:], minlength=4) / 500, expected, atol=0.06)


class TestLooking:
    def test_next_token_distribution(self) -> None:
        tokenizer = CharTokenizer.of("abcdefghijk")
        model = build(replace(TINY, dropout=0.5))
        table = model.next_token_distribution("abc", temperature=0.5, tokenizer=tokenizer, top=4)
        model.eval()
        logits = model(np.array([0, 1, 2])).data[-1]
        best = np.argsort(-logits)[:4]
        assert [each.id for each in table] == best.tolist()
        assert [each.text for each in table] == ["abcdefghijk"[i] for i in best]
        np.testing.assert_allclose([each.before for each in table], next_token_probabilities(logits)[best])
        np.testing.assert_allclose([each.after for each in table], next_token_probabilities(logits, 0.5)[best])
        by_ids = model.next_token_distribution([0, 1, 2], temperature=0.5, top=4)
        assert [each._replace(text=None) for each in table] == by_ids
        assert len(model.next_token_distribution(np.arange(30) % V, top=99)) == V  # longer than the context
        with pytest.raises(UserError, match="needs its tokenizer"):
            model.next_token_distribution("abc")

    def test_attention_maps(self) -> None:
        model = build(replace(TINY, dropout=0.5))
        maps = model.attention_maps(IDS[0])
        assert [each.shape for each in maps] == [(2, 6, 6)] * 2
        for each in maps:
            np.testing.assert_allclose(each.sum(axis=-1), 1)
            assert not each[:, ~np.tri(6, dtype=bool)].any()
        for one, batched in zip(maps, model.attention_maps(IDS)):
            np.testing.assert_allclose(batched[0], one, atol=1e-12)

    def test_nearest_and_analogy(self) -> None:
        tokenizer = WordTokenizer(["<unk>", "king", "man", "woman", "queen", "stone"])
        model = Transformer(replace(TINY, vocab_size=6))
        royal, male, female = np.eye(8)[:3]
        model.embed.weight.data[...] = [0 * royal, royal + male, male, female, 3 * (royal + female), female - royal]
        best = model.analogy("man", "king", "woman", k=2, tokenizer=tokenizer)
        assert best[0].text == "queen"
        assert best[0].id == 4
        assert [each[0] for each in model.analogy(2, 1, 3, k=1)] == [4]
        near = model.nearest("king", k=9, tokenizer=tokenizer)
        assert [each.text for each in near][0:2] == ["man", "queen"]
        assert near[0].similarity == pytest.approx(math.sqrt(0.5))
        assert near[1].similarity == pytest.approx(0.5)
        assert len(near) == 5
        assert model.nearest(1, k=1)[0].text is None
        for word, message in (
            ("prince", "'prince' is not among the 6 tokens"),
            ("", "'' is 0 tokens"),
            (9, "token id 9"),
        ):
            with pytest.raises(UserError, match=message):
                model.nearest(word, tokenizer=tokenizer)
        with pytest.raises(UserError, match="needs its tokenizer"):
            model.nearest("king")


class TestLearning:
    @pytest.mark.parametrize("name", VARIANTS)
    def test_gradients_of_the_whole_model(self, name: str) -> None:
        config = replace(VARIANTS[name], vocab_size=3, context_length=3, embed_dim=4, num_layers=1, mlp_ratio=1)
        config = replace(config, activation="gelu")  # relu has a kink
        model = build(config, spread=20)
        weights = dict(model.named_parameters())
        owners = {id(p): [] for p in weights.values()}  # where each stands: twice where it is shared
        for module in model.modules():
            for attribute, value in vars(module).items():
                if id(value) in owners:
                    owners[id(value)].append((module, attribute))
        ids, targets = np.array([[0, 2, 1]]), np.array([[2, 1, 1]])

        def loss(*values: Tensor) -> Tensor:
            for parameter, value in zip(weights.values(), values):
                for module, attribute in owners[id(parameter)]:
                    vars(module)[attribute] = value
            return F.cross_entropy(model(ids), targets, axis=-1)

        assert te.gradcheck(loss, *[p.data for p in weights.values()])

    def test_learns_a_short_text_by_heart(self) -> None:
        te.manual_seed(0)
        tokenizer = CharTokenizer.of("hello world")
        ids = tokenizer.encode("hello world")
        model = Transformer(TransformerConfig(tokenizer.vocab_size, 16, 32, 4, 2))
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(100):
            loss = F.cross_entropy(model(ids[:-1]), ids[1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.02
        assert tokenizer.decode(model.generate(ids[:1], 10, temperature=0)) == "hello world"
