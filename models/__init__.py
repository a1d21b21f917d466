"""Models built with tinygrad_edu, and the commands that train them."""

from models.mlp import MLP
from models.neuron import Layer, NeuralNetwork, Neuron

__all__ = ["MLP", "Layer", "NeuralNetwork", "Neuron"]
