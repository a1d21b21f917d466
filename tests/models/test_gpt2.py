"""GPT-2 from a folder of Hugging Face's format: the numbers of the original, or one error that names what is wrong."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.command import UserError
from models.transformer import Transformer
from tests.requires import require_torch

IDS = np.random.default_rng(0).integers(0, 50, (2, 9))


def library() -> Any:
    """Hugging Face's transformers; like PyTorch, promised by CI."""
    require_torch()
    if os.environ.get("TINYGRAD_EDU_REQUIRE_TORCH"):
        return importlib.import_module("transformers")
    return pytest.importorskip("transformers")


def original(**options: Any) -> Any:
    """A random tiny GPT-2, its weights large enough to disagree about the next token."""
    transformers, torch = library(), require_torch()
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3}
    config = transformers.GPT2Config(**sizes, initializer_range=0.3, bos_token_id=None, eos_token_id=None, **options)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    original().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return dict(importlib.import_module("safetensors.numpy").load_file(folder / "model.safetensors"))


def write(folder: Path, weights: dict[str, np.ndarray]) -> None:
    importlib.import_module("safetensors.numpy").save_file(weights, folder / "model.safetensors")


def configure(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


class TestTheSameModel:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"activation_function": "gelu", "layer_norm_epsilon": 1e-3},
            {"n_inner": 24, "activation_function": "relu"},
            {"tie_word_embeddings": False},
        ],
    )
    def test_equal_logits_and_equal_greedy_text(self, options: dict[str, Any], tmp_path: Path) -> None:
        torch, theirs = require_torch(), original(**options)
        theirs.save_pretrained(tmp_path)
        ours = Transformer.from_gpt2(tmp_path)
        assert ours.num_parameters() == sum(p.numel() for p in theirs.parameters())
        with torch.no_grad():
            expected = theirs(torch.tensor(IDS)).logits.numpy()
        logits = ours(IDS)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits.data, expected, atol=1e-4)
        prompt = IDS[0, :3]
        text = theirs.generate(torch.tensor(prompt[None]), max_new_tokens=10, do_sample=False, pad_token_id=0)
        np.testing.assert_array_equal(ours.generate(prompt, 10, temperature=0), text[0].numpy())

    def test_names_of_older_files(self, folder: Path) -> None:
        expected = Transformer.from_gpt2(folder)(IDS).data
        weights = {name.removeprefix("transformer."): array for name, array in arrays(folder).items()}
        weights["h.0.attn.bias"] = np.tri(16, dtype=np.float32)[None, None]
        weights["lm_head.weight"] = weights["wte.weight"].copy()
        write(folder, weights)
        np.testing.assert_array_equal(Transformer.from_gpt2(folder)(IDS).data, expected)

    def test_half_precision_is_read_too(self, folder: Path) -> None:
        expected = Transformer.from_gpt2(folder)(IDS).data
        write(folder, {name: array.astype(np.float16) for name, array in arrays(folder).items()})
        logits = Transformer.from_gpt2(folder)(IDS)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits.data, expected, atol=0.1)


class TestErrors:
    def test_weights_that_do_not_fit_are_listed(self, folder: Path) -> None:
        weights = arrays(folder)
        del weights["transformer.h.1.mlp.c_fc.bias"]
        weights["transformer.h.0.ln_3.weight"] = np.ones(3, np.float32)
        weights["transformer.ln_f.weight"] = np.ones(13, np.float32)
        write(folder, weights)
        with pytest.raises(UserError) as error:
            Transformer.from_gpt2(folder)
        message = str(error.value)
        assert "missing: h.1.mlp.c_fc.bias;" in message
        assert "unexpected: h.0.ln_3.weight;" in message
        assert message.endswith("wrong shape: ln_f.weight (13,) instead of (12,)")

    def test_a_config_of_another_size(self, folder: Path) -> None:
        configure(folder, n_layer=3)
        with pytest.raises(UserError, match=r"missing: h\.2\.attn\.c_attn\.weight, h\.2"):
            Transformer.from_gpt2(folder)

    def test_a_config_of_impossible_size(self, folder: Path) -> None:
        configure(folder, n_layer=10**12)
        with pytest.raises(UserError, match=r"asks for 1000000000000 layers, the file has 28 arrays"):
            Transformer.from_gpt2(folder)
        configure(folder, n_layer=2, vocab_size=10**12)
        with pytest.raises(UserError, match=r"wrong shape: wte\.weight \(50, 12\) instead of \(1000000000000, 12\)"):
            Transformer.from_gpt2(folder)

    def test_a_foreign_file(self, folder: Path) -> None:
        write(folder, {f"layer{i}": np.ones(1, np.float32) for i in range(50)})
        with pytest.raises(UserError, match=r"missing: wte\.weight, .* and 8 more; unexpected: layer.* and 30 more$"):
            Transformer.from_gpt2(folder)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model_type": "llama"}, r"expected model_type 'gpt2', got 'llama'"),
            ({"n_head": 5}, r"config\.json: .*embed_dim=12 must be a multiple of num_heads=5"),
            ({"n_embd": "12"}, r"expected embed_dim to be a whole number"),
            ({"n_inner": 13}, r"n_inner must be a multiple of n_embd=12, got 13"),
            ({"activation_function": "mish"}, r"not supported: activation_function='mish'"),
            ({"scale_attn_by_inverse_layer_idx": True}, r"not supported: scale_attn_by_inverse_layer_idx=True"),
        ],
    )
    def test_a_config_that_is_no_gpt2(self, folder: Path, changes: dict[str, Any], message: str) -> None:
        configure(folder, **changes)
        with pytest.raises(UserError, match=message):
            Transformer.from_gpt2(folder)

    def test_a_config_without_sizes(self, folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "gpt2", "n_embd": 12}')
        with pytest.raises(UserError, match=r"vocab_size, n_positions, n_head, n_layer is missing"):
            Transformer.from_gpt2(folder)

    @pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"3", b"[]"])
    def test_a_broken_config(self, folder: Path, content: bytes) -> None:
        (folder / "config.json").write_bytes(content)
        with pytest.raises(UserError, match=r"config\.json (is no JSON file|does not describe a GPT-2)"):
            Transformer.from_gpt2(folder)

    def test_broken_weights(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        for content in (b"", whole[:7], whole[:100], whole[:-1], b"\x80\x04." + whole, b"\xff" * 1000):
            path.write_bytes(content)
            with pytest.raises(
                UserError, match=r"model\.safetensors is no \.safetensors file(, or is cut|: it is a pickle)"
            ):
                Transformer.from_gpt2(folder)

    def test_bfloat16_is_widened(self, folder: Path) -> None:
        torch = require_torch()
        weights = {name: torch.tensor(array).bfloat16() for name, array in arrays(folder).items()}
        importlib.import_module("safetensors.torch").save_file(weights, folder / "model.safetensors")
        model = Transformer.from_gpt2(folder)
        found = next(array for name, array in weights.items() if name.endswith("wpe.weight"))
        np.testing.assert_array_equal(model.state_dict()["positions.weight"], found.float().numpy())

    def test_missing_files(self, folder: Path, tmp_path: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"cannot read .*model\.safetensors: "):
            Transformer.from_gpt2(folder)
        with pytest.raises(UserError, match=r"cannot read .*nowhere/config\.json: No such file"):
            Transformer.from_gpt2(tmp_path / "nowhere")
