"""Models built with tinygrad_edu, and the commands that train them."""

from models.mlp import MLP
from models.neuron import Layer, NeuralNetwork, Neuron
from models.transformer import Transformer, TransformerConfig

__all__ = ["MLP", "Layer", "NeuralNetwork", "Neuron", "Transformer", "TransformerConfig"]
