"""No file, however it was damaged or made up, gets past the loaders with anything but one error of ours in one line."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.loaders import LOADERS, check

for package in ("safetensors", "tokenizers"):
    pytest.importorskip(package)

bounded = settings(
    max_examples=150,
    deadline=5000,  # milliseconds: nothing hangs
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NUMBERS = [-1, 0, 1, 2**31, 2**60, 2**63, 2**64, 10**400, 0.5, 1e308]
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(NUMBERS), st.floats(allow_nan=False), st.text(max_size=20)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A good file with some of its bytes cut out, overwritten or moved."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 40)))
        new = draw(st.one_of(st.binary(max_size=12), st.just(content[start:stop] * 2), st.sampled_from(content_bits())))
        content = content[:start] + new + content[stop:]
    return content


def content_bits() -> list[bytes]:
    """What means something in one of the formats."""
    return [b"", b"\0" * 8, struct.pack("<Q", 2**60), b"\xff" * 8, b"[" * 3000, b"1e999", b"9" * 5000, b'"', b"NaN"]


@st.composite
def twisted(draw: st.DrawFn, seeds: tuple[Any, ...]) -> Any:
    """A good JSON value in which something, somewhere, is replaced, removed or added."""
    value = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(1, 3))):
        here = value
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = here[key]
            if isinstance(inner, (dict, list)) and draw(st.booleans()):
                here = inner
                continue
            what = draw(st.integers(0, 2))
            if what == 0:
                del here[key]
            elif what == 1 and isinstance(here, dict):
                here[draw(st.text(max_size=8))] = draw(values)
            else:
                here[key] = draw(values)
            break
    return value


@pytest.mark.parametrize("name", LOADERS)
def test_good_files_are_read(name: str, tmp_path: Path) -> None:
    for seed in LOADERS[name].seeds:
        if name != "module" or seed == LOADERS[name].seeds[1]:
            (tmp_path / "file").write_bytes(seed)
            LOADERS[name].read(tmp_path / "file")


@pytest.mark.parametrize("name", LOADERS)
@bounded
@given(st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    check(LOADERS[name], data.draw(damaged(LOADERS[name].seeds)))


@pytest.mark.parametrize("name", [name for name, loader in LOADERS.items() if loader.json])
@bounded
@given(st.data())
def test_twisted_json(name: str, data: st.DataObject) -> None:
    check(LOADERS[name], json.dumps(data.draw(twisted(LOADERS[name].json))).encode())


TYPES = st.sampled_from(["F32", "F64", "BF16", "BOOL", "I8", "U64", "F8_E4M3", "F4", "C64", "f32", ""])


@bounded
@given(
    st.dictionaries(
        st.sampled_from(["weight", "bias", "__metadata__", "x"]) | st.text(max_size=5),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": TYPES,
                "shape": st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**60, 2**64]), max_size=4),
                "data_offsets": st.lists(st.sampled_from([0, 1, 4, 8, 24, 2**60, -1]), min_size=1, max_size=3),
            },
        )
        | values,
        max_size=3,
    ),
    st.binary(max_size=48),
    st.integers(-3, 3) | st.just(2**60),
)
def test_made_up_headers_of_weights(header: Any, data: bytes, lie: int) -> None:
    text = json.dumps(header).encode()
    content = struct.pack("<Q", max(0, len(text) + lie)) + text + data
    check(LOADERS["weights"], content)
    check(LOADERS["module"], content)


@bounded
@given(
    st.sampled_from(["<f4", "<f8", "|O", "<i8", "<U3", "|b1", "<c16", "[('a', '<f4')]", "<f4x", "|V99999999999"]),
    st.sampled_from(["(6, 2)", "(6,)", "()", "(1152921504606846976,)", "(-1, 2)", "(6, 2", "(10**9,)", "None"]),
    st.sampled_from(["False", "True", "3"]),
    st.integers(0, 200),
)
def test_made_up_arrays_in_an_npz(dtype: str, shape: str, fortran: str, size: int) -> None:
    import io

    descr = dtype if dtype.startswith("[") else repr(dtype)
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(size)
    good = io.BytesIO()
    np.save(good, np.arange(6) % 2)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("X.npy", array)
        archive.writestr("y.npy", good.getvalue())
    check(LOADERS["npz"], file.getvalue())
