"""The pieces of a step written out in NumPy without any graph: what a careful programmer would write, no tricks."""

from __future__ import annotations

import math

import numpy as np


def linear(x, weight, bias=None):
    """(..., in) -> (..., out): one product over all rows."""
    y = x.reshape(-1, x.shape[-1]) @ weight.T
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], -1)


def linear_backward(g, x, weight):
    """The gradients of x, weight and bias."""
    g_rows, x_rows = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
    return (g_rows @ weight).reshape(x.shape), g_rows.T @ x_rows, g_rows.sum(axis=0)


def cross_entropy(logits, target):
    """The mean loss of logits (N, C), and its gradient."""
    rows = np.arange(len(target))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=-1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, target])
    p /= total
    p[rows, target] -= 1
    p /= len(target)
    return float(loss), p


class SGD:
    """w -= lr g."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = parameters, lr

    def step(self, gradients):
        for name, w in self.parameters.items():
            w -= self.lr * gradients[name]


class Adam:
    """Adam; with weight_decay, AdamW."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.parameters, self.lr, self.betas, self.eps, self.decay = parameters, lr, betas, eps, weight_decay
        self.m = {name: np.zeros_like(w) for name, w in parameters.items()}
        self.v = {name: np.zeros_like(w) for name, w in parameters.items()}
        self.t = 0

    def step(self, gradients):
        self.t += 1
        beta1, beta2 = self.betas
        rate, root = self.lr / (1 - beta1**self.t), math.sqrt(1 - beta2**self.t)
        for name, w in self.parameters.items():
            g, m, v = gradients[name], self.m[name], self.v[name]
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * g * g
            if self.decay:
                w *= 1 - self.lr * self.decay
            w -= rate * m / (np.sqrt(v) / root + self.eps)
