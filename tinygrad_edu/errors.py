"""The two ways a computation can be refused, each also a kind of the built-in error a caller would expect."""


class ShapeError(ValueError):
    """The inputs of an op do not fit together: names the op, the shapes, the module, and what to do."""


class GraphError(RuntimeError):
    """A gradient cannot be computed from this graph: names the op, the reason, and what to do."""
