"""Files are complete or not there: full disks, folders that cannot be written, interruptions, two writers at once."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tinygrad_edu.files import replacing

ROOT = Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links, limits and renaming as POSIX has them")
as_root = hasattr(os, "geteuid") and os.geteuid() == 0


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def test_a_new_file_and_its_replacement(tmp_path: Path) -> None:
    longest = 240 if os.name == "posix" else 60  # a temporary name made longer than this would be too long
    path = tmp_path / ("n" * longest)
    for content in (b"first", b"second"):
        write(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_what_fails_on_the_way_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    write(tmp_path / "x", b"old")

    def fail() -> None:
        with replacing(tmp_path / "x") as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match=r"^cannot write .*x: No space left on device$"):
        write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@posix
def test_a_limit_that_the_system_sets_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    write(tmp_path / "x", b"old")
    code = (
        "import resource, signal, sys; from tinygrad_edu.files import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    with replacing(sys.argv[1]) as file: file.write(bytes(100_000))\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x"], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {tmp_path / 'x'}: File too large\n"
    assert done.stderr == ""
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("name", "reason"), [("no/x", "No such file"), ("folder", "it is a folder"), ("file/x", "Not a directory|No such")]
)
def test_what_cannot_be_a_file_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "file", b"old")
    with pytest.raises(OSError, match=rf"^cannot write .*: ({reason})[^\n]*$"):
        write(tmp_path / name, b"new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@posix
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(FileExistsError, match=r"cannot write /dev/null: it is there, and no ordinary file"):
        write(Path("/dev/null"), b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
@pytest.mark.skipif(as_root, reason="root may write everywhere")
@pytest.mark.parametrize("name", [".", "x"])
def test_a_folder_or_file_that_may_not_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x", b"old")
    (tmp_path / name).chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"^cannot write .*x: Permission denied$"):
            write(tmp_path / "x", b"new")
    finally:
        (tmp_path / name).chmod(0o700)
    assert (tmp_path / "x").read_bytes() == b"old"


@posix
def test_a_link_is_followed_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "x", tmp_path / "x"
    write(real, b"old")
    assert stat.S_IMODE(real.stat().st_mode) & 0o111 == 0
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@posix
def test_of_several_writers_one_wins_whole(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(tmp_path / "x", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in contents
    assert os.listdir(tmp_path) == ["x"]
