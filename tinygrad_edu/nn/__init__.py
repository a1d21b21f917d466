"""Modules: layers and what they are built with. Names, shapes and initial values are PyTorch's."""

from tinygrad_edu.nn import init
from tinygrad_edu.nn.layers import (
    ELU,
    GELU,
    Dropout,
    Embedding,
    LayerNorm,
    LeakyReLU,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_edu.nn.module import LoadResult, Module, ModuleList, Parameter, Sequential

__all__ = [
    "ELU",
    "GELU",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LoadResult",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "init",
]
