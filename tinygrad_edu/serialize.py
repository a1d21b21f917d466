"""Weights in files that other libraries read too: the safetensors format, which holds numbers and cannot hold code.

A file is the length of a header, the header (names, types and shapes, as JSON) and the numbers as they lie in memory.
The package `safetensors` reads and checks it. Format: https://huggingface.co/docs/safetensors

>>> import tempfile, os
>>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
>>> save(path, {"w": Tensor([1.0, 2.0])})
>>> load(path)
{'w': Tensor([1., 2.])}
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_edu import files
from tinygrad_edu.errors import FormatError
from tinygrad_edu.tensor import Tensor

# The types of the format that are read, as the file has them.
_DTYPES = {f"{letter}{8 * size}": f"<{letter.lower()}{size}" for letter in "IU" for size in (1, 2, 4, 8)}
_DTYPES |= {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "u1"}
_MEANING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "BF16": lambda bits: (bits.astype("<u4") << 16).view("<f4"),  # the upper half of a float32
    "BOOL": lambda bytes: bytes.astype(bool),
}
_FOREIGN = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz"}  # names that promise another format
_PICKLE = (
    "it is a pickle, such as torch.save writes, which can run code when it is read. In PyTorch, write "
    'safetensors.torch.save_file(model.state_dict(), "weights.safetensors") and load that'
)
_NUMPY = (
    "it is a file of NumPy: write te.save(path, dict(np.load(file))), of an .npy te.save(path, {name: np.load(file)})"
)
_LARGE = "it is a pointer of Git LFS to the real file: fetch that with git lfs pull"


def save(path: str | os.PathLike[str], tensors: Mapping[str, Any]) -> None:
    """Write tensors or arrays by name, such as a `state_dict()`, as a .safetensors file.

    Names, shapes and dtypes are kept: bool, int8 to int64, uint8 to uint64, float16, float32, float64. Gradients, and
    whether one is required, are not part of the format. A file that is there is replaced when the new one is complete.
    Raises TypeError for what is no such mapping, ValueError for a name such as a.pt, which others would read as another
    format, OSError if the file cannot be written, ImportError without the package safetensors.
    """
    if isinstance(tensors, (str, os.PathLike)):
        raise TypeError(f"save: the path comes first, then the tensors: te.save({str(tensors)!r:.60}, state_dict)")
    stem, suffix = os.path.splitext(path)
    if suffix.lower() in _FOREIGN:
        raise ValueError(
            f"save: {path} would be in the safetensors format, which nothing reads as {suffix}: name it "
            f"{stem}.safetensors, which PyTorch reads with safetensors.torch.load_file"
        )
    content = pack(tensors)
    with files.replacing(path) as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors in a .safetensors file, by name; `module.load_state_dict` takes them, and so does `save`.

    bfloat16, which NumPy does not have, becomes float32, which holds the same numbers.
    Raises FormatError if the file is damaged, no .safetensors file, or has types that NumPy lacks; OSError if it cannot
    be read; ImportError without the package safetensors.
    """
    arrays = unpack(files.read(path), str(path))
    return {name: Tensor.wrap(array) for name, array in arrays.items()}


def pack(tensors: Mapping[str, Any]) -> bytes:
    """Tensors or arrays by name as the content of a .safetensors file."""
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f'save: expected tensors by name, such as {{"w": w}} or model.state_dict(), got {type(tensors).__name__}'
        )
    content: bytes = library().numpy.save({_name(name): _array(name, value) for name, value in tensors.items()})
    return content


def unpack(content: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays in the content of a .safetensors file, in the order of their names; errors begin with `where`."""
    deserialize = library().deserialize
    try:
        found = deserialize(content)
    except Exception as error:  # the library's own kind, or whatever a broken header leads to
        known = _recognized(content)
        if known:
            raise FormatError(f"{where} is no .safetensors file: {known}") from None
        reason = " ".join(str(error).split())
        raise FormatError(f"{where} is no .safetensors file, or is cut short: {reason:.120}") from None
    foreign = [f"{name!r:.40} is {entry['dtype']}" for name, entry in found if entry["dtype"] not in _DTYPES]
    if foreign:
        raise FormatError(f"{where} holds numbers that NumPy does not have: {', '.join(foreign[:5])}")
    arrays = {}
    for name, entry in sorted(found, key=lambda pair: pair[0]):
        dtype, shape = entry["dtype"], entry["shape"]
        array = np.frombuffer(entry["data"], _DTYPES[dtype])
        try:
            arrays[name] = (_MEANING[dtype](array) if dtype in _MEANING else array).reshape(shape)
        except ValueError:  # more axes, or longer ones, than an array can have
            raise FormatError(f"{where}: {name!r:.40} has a shape of {len(shape)} axes that no array has") from None
    return arrays


def _recognized(content: bytes) -> str:
    """What a file is that is no .safetensors file, and what to do about it, if its beginning shows it."""
    if content[8:9] == b"{":  # the header of a .safetensors file that is damaged
        return ""
    if content.startswith(b"\x80") or (content.startswith(b"PK") and b"data.pkl" in content[:1000]):
        return _PICKLE
    if content.startswith((b"\x93NUMPY", b"PK")):
        return _NUMPY
    return _LARGE if content.startswith(b"version https://git-lfs") else ""


def _name(name: Any) -> str:
    with contextlib.suppress(UnicodeEncodeError):  # half a character
        if isinstance(name, str) and name != "__metadata__" and name.encode():
            return name
    raise TypeError(f"save: the name of a tensor is a text, and not '__metadata__', got {name!r:.60}")


def _array(name: str, value: Any) -> np.ndarray:
    """The value as the library takes it: it writes memory as it lies, so that is put in order first."""
    array = np.asarray(getattr(value, "_data", value), order="C")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"save: {name!r:.60} must hold real numbers of at most 64 bits, got {array.dtype}")
    return array


def library() -> Any:
    """The optional package `safetensors`."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            'weights are saved and loaded by the package safetensors: pip install "tinygrad_edu[weights]"'
        ) from None
    return safetensors
