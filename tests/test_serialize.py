"""Weights travel: to a file and back, to PyTorch and back; what is damaged or does not fit is one error."""

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from models import MLP
from tests.requires import require_torch
from tinygrad_edu import FormatError, ShapeError, Tensor, nn, serialize

pytest.importorskip("safetensors")

ROOT = Path(__file__).parent.parent
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


def file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_dtypes_come_back_as_they_were(path: Path, dtype: str) -> None:
    values = np.array([[0, 1, 3], [2, 5, 7]]).astype(dtype)
    arrays = {"a": values, "scalar": values[0, 1], "empty": values[:0], "ä ⊙": values.T}
    te.save(path, {**arrays, "tensor": Tensor(values)})
    found = te.load(path)
    assert list(found) == ["a", "empty", "scalar", "tensor", "ä ⊙"]
    for name, expected in {**arrays, "tensor": values}.items():
        assert found[name].dtype == dtype
        assert found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name].data, expected)
        assert found[name].is_leaf
        assert not found[name].requires_grad
    found["a"].data[...] = 0  # memory of its own


def test_memory_in_any_order_is_written_as_it_reads(path: Path) -> None:
    a = np.arange(24.0).reshape(4, 6)
    arrays = {
        "transposed": a.T,
        "strided": a[::2, ::-3],
        "broadcast": np.broadcast_to(a[0], (3, 6)),
        "big-endian": a.astype(">f8"),
        "scalar": a[::2].sum(),
    }
    te.save(path, arrays)
    for name, tensor in te.load(path).items():
        np.testing.assert_array_equal(tensor.data, arrays[name])


def test_numbers_that_are_no_numbers_come_back_bit_for_bit(path: Path) -> None:
    bits = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32).view(np.float32)
    te.save(path, {"x": bits})
    np.testing.assert_array_equal(te.load(path)["x"].data.view(np.uint32), bits.view(np.uint32))


def test_bfloat16_is_widened_and_what_numpy_lacks_is_refused(path: Path) -> None:
    bits = np.array([0x3F80, 0xC040, 0x7F80, 0x0001], np.uint16)
    path.write_bytes(file({"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}, bits.tobytes()))
    x = te.load(path)["x"]
    assert x.dtype == np.float32
    assert x.tolist() == [[1, -3], [np.inf, 2.0**-133]]
    path.write_bytes(file({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"1"))
    with pytest.raises(FormatError, match=r"w\.safetensors holds numbers that NumPy does not have: 'x' is F8_E4M3"):
        te.load(path)


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        (Tensor([1.0]), r'expected tensors by name, such as \{"w": w\}.*got Tensor'),
        (nn.Linear(2, 2), r"model\.state_dict\(\), got Linear"),
        ({3: np.ones(2)}, "name of a tensor is a text.*got 3"),
        ({"__metadata__": np.ones(2)}, "__metadata__"),
        ({"\ud800": np.ones(2)}, "name of a tensor"),
        ({"x": np.ones(2, complex)}, "'x' must hold real numbers.*complex128"),
        ({"x": "text"}, "'x' must hold real numbers.*<U4"),
        ({"x": np.array([None])}, "'x' must hold real numbers.*object"),
    ],
)
def test_what_cannot_be_saved_is_one_error_and_keeps_the_old_file(path: Path, tensors: Any, complaint: str) -> None:
    te.save(path, {"old": np.ones(2)})
    with pytest.raises(TypeError, match=f"^save: .*{complaint}"):
        te.save(path, tensors)
    assert list(te.load(path)) == ["old"]
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_keeps_the_old_file(path: Path, full_disk: None) -> None:
    path.write_bytes(serialize.pack({"old": np.ones(2)}))
    with pytest.raises(OSError, match=r"^cannot write .*w\.safetensors: No space left on device$"):
        nn.Linear(2, 2).save(path)
    assert list(te.load(path)) == ["old"]


def test_what_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^cannot read .*nowhere: No such file"):
        te.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError, match=r"^cannot read .*: it is a folder$"):
        te.load(tmp_path)
    (tmp_path / "cut").write_bytes(serialize.pack({"a": np.ones(100)})[:-1])
    with pytest.raises(FormatError, match=r"cut is no \.safetensors file, or is cut short"):
        te.load(tmp_path / "cut")


@pytest.mark.parametrize("name", ["w.pt", "w.PTH", "w.ckpt", "w.pkl", "w.npz"])
def test_a_name_that_promises_another_format_is_refused_and_keeps_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"somebody's")
    for write in (lambda: te.save(tmp_path / name, {"a": np.ones(1)}), lambda: nn.Linear(1, 1).save(tmp_path / name)):
        with pytest.raises(ValueError, match=rf"^save: .*reads as \.{name[2:]}: .*w\.safetensors") as error:
            write()
        assert "\n" not in str(error.value)
    assert (tmp_path / name).read_bytes() == b"somebody's"


def test_the_order_of_torch_is_refused(path: Path) -> None:
    for where in (path, str(path)):
        with pytest.raises(TypeError, match=r"^save: the path comes first, then the tensors: te\.save\("):
            te.save({"w": np.ones(1)}, where)  # type: ignore[arg-type]
    assert not path.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_torch_is_told_what_to_do(tmp_path: Path, zipped: bool) -> None:
    torch = require_torch()
    from safetensors.torch import save_file

    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(theirs.state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(FormatError, match=r"a\.pt is no \.safetensors file: it is a pickle.*torch\.save_file") as error:
        ours.load(tmp_path / "a.pt")
    assert "\n" not in str(error.value)
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")  # what the error says to do
    ours.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().numpy())


def test_files_of_numpy_are_told_what_to_do(tmp_path: Path, path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.arange(3))
    np.save(tmp_path / "a.npy", np.arange(3))
    for name in ("a.npz", "a.npy"):
        with pytest.raises(
            FormatError, match=rf"{name} is no \.safetensors file: it is a file of NumPy: write te\.save"
        ):
            te.load(tmp_path / name)
    te.save(path, dict(np.load(tmp_path / "a.npz")))
    assert te.load(path)["w"].tolist() == [0, 1, 2]


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(serialize.pack({"a": np.ones(1)}))
    assert list(te.load(tmp_path / "a.pt")) == ["a"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (struct.pack("<Q", 2**60) + b"{}", "no .safetensors file"),
        (file({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}), "'a' has a shape of 2 axes"),
        (
            file({"a": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}}, b"1234"),
            "'a' has a shape of 100",
        ),
        (file(b'{"a":' + b" " * 123)[:100], "or is cut short"),  # 128 bytes of header: it begins as a pickle does
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "fetch that with git lfs pull"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "no .safetensors file"),
    ],
)
def test_a_file_that_lies_is_one_error(path: Path, content: bytes, complaint: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint) as error:
        te.load(path)
    assert "\n" not in str(error.value)


def test_booleans_are_booleans_whatever_their_bytes(path: Path) -> None:
    path.write_bytes(file({"a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}}, b"\0\1\2"))
    assert te.load(path)["a"].data.view(np.uint8).tolist() == [0, 1, 1]


def test_without_the_package_one_line_says_what_to_install(path: Path) -> None:
    code = (
        "import sys; sys.modules['safetensors'] = None; import tinygrad_edu as te\n"
        "for use in (lambda: te.save(sys.argv[1], {}), lambda: te.load(sys.argv[1])):\n"
        "    try: use()\n    except ImportError as error: print(error)"
    )
    path.write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.fullmatch(r'(weights .* package safetensors: pip install "tinygrad_edu\[weights\]"\n){2}', done.stdout)
    assert path.read_bytes() == b""


# Modules -------------------------------------------------------------------------------------------------------------


def test_a_module_is_saved_and_loaded(path: Path) -> None:
    model, other = MLP([3, 4, 2]), MLP([3, 4, 2])
    model.save(path)
    assert other.load(path) == nn.LoadResult([], [])
    x = Tensor([[1.0, -2.0, 3.0]])
    np.testing.assert_array_equal(model(x).data, other(x).data)
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_shared_parameters_stay_shared(path: Path) -> None:
    def tied() -> nn.Sequential:
        model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    model.save(path)
    assert list(te.load(path)) == ["0.weight", "1.weight"]
    other.load(path)
    assert other[0].weight is other[1].weight
    np.testing.assert_array_equal(other[0].weight.data, model[0].weight.data)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"weight": np.ones((2, 3), np.float32)}, "missing: bias"),
        ({"weight": np.ones((2, 3)), "bias": np.ones(2, np.float32)}, "wrong dtype: weight float64 instead of float32"),
        ({"weight": np.ones((2, 3), int), "bias": np.ones(2, np.float16)}, "wrong dtype: weight int64"),
        ({"weight": np.ones((3, 2), np.float32), "bias": np.ones(2)}, r"weight \(3, 2\) instead of \(2, 3\); wrong dt"),
        ({f"x{i}": np.ones(1) for i in range(30)}, "and 10 more"),
    ],
)
def test_what_does_not_fit_is_one_error_and_changes_nothing(path: Path, state: Any, complaint: str) -> None:
    layer = nn.Linear(3, 2)
    before = layer.state_dict()
    te.save(path, state)
    with pytest.raises(ShapeError, match=f"^load: .*w.safetensors does not fit Linear; .*{complaint}"):
        layer.load(path)
    for name, value in before.items():
        np.testing.assert_array_equal(layer.state_dict()[name], value)


def test_what_loses_nothing_is_taken_and_anything_by_way_of_load_state_dict(path: Path) -> None:
    layer = nn.Linear(3, 2)
    te.save(path, {"weight": np.full((2, 3), 0.5, np.float16), "bias": np.array([1, 2], np.int8)})
    layer.load(path)
    assert (layer.weight.dtype, layer.weight.tolist(), layer.bias.tolist()) == (np.float32, [[0.5] * 3] * 2, [1, 2])
    te.save(path, {"weight": np.full((2, 3), 0.1)})
    assert layer.load_state_dict(te.load(path), strict=False).missing == ["bias"]
    np.testing.assert_array_equal(layer.weight.data, np.float32(0.1))


# PyTorch -------------------------------------------------------------------------------------------------------------

IDS = np.array([[1, 4, 2], [0, 3, 3]])


def pair(kind: str) -> tuple[nn.Module, Any]:
    """The same model here and there, in evaluation mode, with different weights."""
    torch = require_torch()
    if kind == "MLP":
        ours: nn.Module = nn.Sequential(nn.Embedding(5, 4), MLP([4, 8, 3]))

        class Theirs(torch.nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

            def forward(self, x: Any) -> Any:
                return self.layers(x)

        theirs = torch.nn.Sequential(torch.nn.Embedding(5, 4), Theirs())
    else:

        def built(nn: Any) -> Any:
            inner = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4, bias=False))
            return nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Dropout(0.1), inner, nn.Tanh())

        ours, theirs = built(nn), built(torch.nn)
    return ours.eval(), theirs.eval()


def same(ours: nn.Module, theirs: Any) -> None:
    """Equal names, equal values bit for bit, and outputs that are equal but for the order of sums."""
    torch = require_torch()
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(state[name], value.numpy())
    np.testing.assert_allclose(ours(IDS).data, theirs(torch.from_numpy(IDS)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["MLP", "Sequential"])
def test_torch_weights_load_here_by_file_and_by_dictionary(kind: str, path: Path) -> None:
    ours, theirs = pair(kind)
    from safetensors.torch import save_file

    save_file(theirs.state_dict(), path)
    ours.load(path)
    same(ours, theirs)
    ours, theirs = pair(kind)
    ours.load_state_dict(theirs.state_dict())
    same(ours, theirs)


@pytest.mark.parametrize("kind", ["MLP", "Sequential"])
def test_our_weights_load_in_torch_by_file_and_by_dictionary(kind: str, path: Path) -> None:
    torch = require_torch()
    from safetensors.torch import load_file

    ours, theirs = pair(kind)
    ours.save(path)
    theirs.load_state_dict(load_file(path))
    same(ours, theirs)
    ours, theirs = pair(kind)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    same(ours, theirs)


def test_torch_in_half_precision_loads_here(path: Path) -> None:
    torch = require_torch()
    from safetensors.torch import save_file

    for dtype in (torch.float16, torch.bfloat16):
        ours, theirs = pair("Sequential")
        theirs.to(dtype)
        save_file(theirs.state_dict(), path)
        ours.load(path)
        same(ours, theirs.float())
    with pytest.raises(TypeError, match=r"load_state_dict: 0\.weight cannot be made an array .*BFloat16.*\.float\(\)"):
        ours.load_state_dict(theirs.to(torch.bfloat16).state_dict())
