"""models/transformer.py in PyTorch, with the same parameter names, so that both can start from equal weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from models.transformer import TransformerConfig

Cache = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values (B, H, S, D) of each block


class TorchBlock(nn.Module):
    """x = x + attention(norm(x)); x = x + mlp(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        E, self.heads = config.embed_dim, config.num_heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(E, config.norm_eps), nn.LayerNorm(E, config.norm_eps)
        self.attention = nn.ModuleDict({name: nn.Linear(E, E) for name in ("query", "key", "value", "output")})
        self.mlp = nn.ModuleDict({"up": nn.Linear(E, 4 * E), "down": nn.Linear(4 * E, E)})
        self.approximate = "tanh" if config.activation == "gelu_tanh" else "none"

    def forward(
        self, x: torch.Tensor, known: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """(B, T, E) -> (B, T, E), and the keys and values of all tokens so far."""
        B, T, E = x.shape
        h = self.attention_norm(x)
        q, k, v = (
            self.attention[name](h).view(B, T, self.heads, E // self.heads).transpose(1, 2)  # (B, H, T, D)
            for name in ("query", "key", "value")
        )
        if known is not None:
            k, v = torch.cat([known[0], k], dim=2), torch.cat([known[1], v], dim=2)  # (B, H, S, D)
        a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=known is None)
        x = x + self.attention["output"](a.transpose(1, 2).reshape(B, T, E))
        hidden = nn.functional.gelu(self.mlp["up"](self.mlp_norm(x)), approximate=self.approximate)
        return x + self.mlp["down"](hidden), (k, v)


class TorchTransformer(nn.Module):
    """Learned positions, no dropout, W_U apart from W_E."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        E = config.embed_dim
        self.embed = nn.Embedding(config.vocab_size, E)
        self.positions = nn.Embedding(config.context_length, E)
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(E, config.norm_eps)
        self.unembed = nn.Linear(E, config.vocab_size, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.embed(ids) + self.positions(torch.arange(ids.shape[-1]))
        for block in self.blocks:
            x, _ = block(x)
        return self.unembed(self.final_norm(x))

    def following(self, ids: torch.Tensor, cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        """The logits of the last token only, (B, V). After a cached text, ids is the one token that follows it."""
        start = cache[0][0].shape[2] if cache else 0
        x = self.embed(ids) + self.positions(torch.arange(start, start + ids.shape[-1]))
        new: Cache = []
        for i, block in enumerate(self.blocks):
            x, known = block(x, cache[i] if cache else None)
            new.append(known)
        return self.unembed(self.final_norm(x[:, -1])), new
