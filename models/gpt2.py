"""GPT-2 from a folder in Hugging Face's format: config.json and model.safetensors become a `Transformer`.

GPT-2 is the model of `models/transformer.py` under other names. Two things are stored differently: its linear layers
keep their weights as (in, out) where ours are (out, in), and query, key and value of a block are one layer `c_attn`.
Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; the names are those of the class
`GPT2LMHeadModel` in Hugging Face's transformers.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from models.command import UserError, one_line, read_json, user_errors
from models.transformer import Transformer, TransformerConfig
from tinygrad_edu import serialize
from tinygrad_edu.files import read

# The activations by Hugging Face's names.
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
ACTIVATIONS |= {"silu": "silu", "swish": "silu", "tanh": "tanh"}

# Ways of computing that a Transformer does not know: the setting, and the value with which it is off.
FOREIGN = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}

# The parts of one block, h.0 there and blocks.0 here.
PARTS = {
    "ln_1": "attention_norm",
    "attn.c_proj": "attention.output",
    "ln_2": "mlp_norm",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def load_gpt2(folder: str | PathLike[str]) -> Transformer:
    """The model in a folder, ready to use. Anything that does not fit is one UserError, and names what."""
    folder = Path(folder)
    config = read_config(folder / "config.json")
    theirs = read_weights(folder / "model.safetensors")
    if config.num_layers > len(theirs):  # each has a dozen; refused before a list of their names fills the memory
        raise UserError(f"{folder}: config.json asks for {config.num_layers} layers, the file has {len(theirs)} arrays")
    _check_names(theirs, expected_shapes(config), folder)
    model = Transformer(config)
    model.load_state_dict(renamed(theirs, config))
    model.eval()
    return model


def read_config(path: Path) -> TransformerConfig:
    """Hugging Face's config.json as ours."""
    theirs = read_json(path)
    if not isinstance(theirs, dict) or theirs.get("model_type") != "gpt2":
        kind = theirs.get("model_type") if isinstance(theirs, dict) else theirs
        raise UserError(f"{path} does not describe a GPT-2: expected model_type 'gpt2', got {kind!r:.40}")
    missing = [name for name in ("vocab_size", "n_positions", "n_embd", "n_head", "n_layer") if name not in theirs]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} is missing")
    foreign = [f"{name}={theirs[name]!r:.40}" for name, off in FOREIGN.items() if theirs.get(name, off) != off]
    activation = theirs.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        foreign.append(f"activation_function={activation!r:.40}")
    if foreign:
        raise UserError(f"{path}: this kind of GPT-2 is not supported: {', '.join(foreign)}")
    try:
        return TransformerConfig(
            vocab_size=theirs["vocab_size"],
            context_length=theirs["n_positions"],
            embed_dim=theirs["n_embd"],
            num_heads=theirs["n_head"],
            num_layers=theirs["n_layer"],
            mlp_ratio=_mlp_ratio(theirs["n_embd"], theirs.get("n_inner")),
            dropout=theirs.get("resid_pdrop", 0.1),
            tie_weights=theirs.get("tie_word_embeddings", True),
            activation=ACTIVATIONS[activation],
            norm_eps=theirs.get("layer_norm_epsilon", 1e-5),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _mlp_ratio(embed_dim: Any, hidden: Any) -> Any:
    """How many times wider the MLP is; null means 4. Anything else goes on to the check of TransformerConfig."""
    if hidden is None or not isinstance(hidden, int) or not isinstance(embed_dim, int) or embed_dim < 1:
        return 4 if hidden is None else hidden
    if hidden % embed_dim:
        raise UserError(f"n_inner must be a multiple of n_embd={embed_dim}, got {hidden}")
    return hidden // embed_dim


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a .safetensors file, by GPT-2's names without the prefix that some files have."""
    with user_errors():
        arrays = serialize.unpack(read(path), str(path))
    arrays = {name.removeprefix("transformer."): array for name, array in arrays.items()}
    # Older files also keep the causal mask of each block, which is no weight.
    return {name: array for name, array in arrays.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}


def expected_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """GPT-2's names and shapes for a model of this plan; linear weights are (in, out)."""
    V, E = config.vocab_size, config.embed_dim
    hidden = config.mlp_ratio * E
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (V, E), "wpe.weight": (config.context_length, E)}
    linear = {"attn.c_attn": (E, 3 * E), "attn.c_proj": (E, E), "mlp.c_fc": (E, hidden), "mlp.c_proj": (hidden, E)}
    for layer in range(config.num_layers):
        for name, shape in linear.items():
            shapes |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{name}.weight": (E,), f"h.{layer}.{name}.bias": (E,)}
    shapes |= {"ln_f.weight": (E,), "ln_f.bias": (E,)}
    return shapes if config.tie_weights else shapes | {"lm_head.weight": (V, E)}


def _check_names(theirs: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]], folder: Path) -> None:
    """Raise if the file does not hold exactly the weights of the model; a tied lm_head may be stored or not."""
    differences = {
        "missing": [name for name in expected if name not in theirs],
        "unexpected": [name for name in theirs if name not in expected and name != "lm_head.weight"],
        "wrong shape": [
            f"{name} {theirs[name].shape} instead of {shape}"
            for name, shape in expected.items()
            if name in theirs and theirs[name].shape != shape
        ],
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in differences.items() if names]
    if found:
        raise UserError(f"{folder}: the weights do not fit config.json; {'; '.join(found)}")


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return one_line(", ".join(names[:most])) + more


def renamed(theirs: dict[str, np.ndarray], config: TransformerConfig) -> dict[str, np.ndarray]:
    """GPT-2's weights as the state of a Transformer."""
    ours = {"embed.weight": theirs["wte.weight"], "positions.weight": theirs["wpe.weight"]}
    ours["unembed.weight"] = theirs["wte.weight" if config.tie_weights else "lm_head.weight"]
    for kind in ("weight", "bias"):
        ours[f"final_norm.{kind}"] = theirs[f"ln_f.{kind}"]
        for layer in range(config.num_layers):
            there, here = f"h.{layer}", f"blocks.{layer}"
            for their_part, our_part in PARTS.items():
                ours[f"{here}.{our_part}.{kind}"] = theirs[f"{there}.{their_part}.{kind}"].T  # (in, out) -> (out, in)
            joined = theirs[f"{there}.attn.c_attn.{kind}"].T  # (E, 3 · E) -> (3 · E, E), or (3 · E,)
            for name, array in zip(("query", "key", "value"), np.split(joined, 3), strict=True):  # 3 x (E, E) or (E,)
                ours[f"{here}.attention.{name}.{kind}"] = array
    return ours
