"""The benchmarks measure what they say: all peers do the same work, each in its own process; a page gets its tables."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import toy_peers as toy
from tests.benchmarks import measure, report, worker
from tests.benchmarks.measure import DisagreementError, PeerError, Worker, _check_losses, compare, installed
from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Workload
from tests.benchmarks.workloads import BY_NAME

SMALL = {
    "scalar": {},
    "digits": {"sizes": (6, 5, 3), "batch": 4, "optimizer": "SGD"},
    "mnist": {"sizes": (6, 5, 4, 3), "batch": 4, "optimizer": "Adam"},
    "gpt": {"width": 8, "depth": 2, "context": 6, "batch": 3, "heads": 2, "vocabulary": 11},
    "generation": {"tokens": 6},
}


@pytest.mark.parametrize("name", BY_NAME)
def test_all_peers_compute_the_same(name: str) -> None:
    workload = BY_NAME[name]
    problem = workload.problem(**SMALL[name])
    peers = [peer for peer in workload.peers if installed(peer) and peer in (OURS, CAPTURED, REFERENCE, "by hand")]
    steps = {peer: workload.peers[peer](problem) for peer in peers}
    _check_losses(workload, {peer: [step() for _ in range(3)] for peer, step in steps.items()})


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that a test starts. Peers need no library here, and everything is quick."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    for name, value in {"NEEDS": {}, "WARM_UP": 0.001, "BLOCK": 0.001, "AWAKE": 0.001, "PATIENCE": 10}.items():
        monkeypatch.setattr(measure, name, value)
    return started


def toys(**peers: Any) -> Workload:
    return Workload("toy", "", toy.losses, {name.replace("_", "."): build for name, build in peers.items()})


def test_each_peer_is_measured_in_a_process_of_its_own(processes: list[subprocess.Popen[bytes]]) -> None:
    found = compare(toys(PyTorch=toy.right, other=toy.talkative), 0)
    assert found["left_out"] == {}
    reference, other = found["peers"]["PyTorch"], found["peers"]["other"]
    assert reference["ratio"] == reference["cpu_ratio"] == 1
    assert 0 < other["fastest"] <= other["milliseconds"] < 1
    assert other["loss"] == 1.0
    assert ("peak_mib" in other) == (sys.platform != "win32")
    assert [process.returncode for process in processes] == [0, 0]


def test_the_processes_of_others_do_not_load_tinygrad_edu(processes: list[subprocess.Popen[bytes]]) -> None:
    assert compare(toys(other=toy.alone), 0)["peers"]["other"]["loss"] == 0.0


@pytest.mark.parametrize(
    ("peer", "error", "line"),
    [
        (toy.wrong, DisagreementError, "toy: other computed 2.5 in step 0, PyTorch 1.0: they do not do the same work"),
        (toy.failing, PeerError, "toy: other: ValueError: no such thing"),
        (toy.dying, PeerError, "toy: other: its process died: exit code 3"),
    ],
)
def test_a_peer_that_goes_wrong_is_one_line_and_leaves_nothing_running(
    peer: Any, error: type[Exception], line: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    with pytest.raises(error) as raised:
        compare(toys(PyTorch=toy.right, other=peer), 0)
    assert str(raised.value) == line
    assert [process.poll() is None for process in processes] == [False, False]


@pytest.mark.parametrize(("peer", "why"), [(toy.failing, "ValueError"), (toy.dying, "its process died")])
def test_torch_compile_may_not_work(peer: Any, why: str, processes: list[subprocess.Popen[bytes]]) -> None:
    found = compare(toys(torch_compile=peer, other=toy.right), 0)
    assert list(found["peers"]) == ["other"]
    assert found["left_out"] == {"torch.compile": f"does not work here: {why}"}


def test_peers_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "NEEDS", {"other": "no_such_package"})
    expected = {"peers": {}, "left_out": {"other": "no_such_package is not installed"}}
    assert compare(toys(other=toy.right), 0) == expected


def test_a_process_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(measure, "PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt), Worker(toys(other=toy.endless), "other") as busy:  # noqa: PT012
        busy.ask("load", toy.endless, None)
        pickle.dump(("build", ([], 1)), busy.requests)
        busy.requests.flush()
        raise KeyboardInterrupt
    assert processes[0].returncode not in (None, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to send Ctrl-C to")
def test_ctrl_c_is_one_line_and_leaves_nothing_running() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "scalar", "--peers", "by hand", "--threads", "1"]
    process = subprocess.Popen(
        command, cwd=measure.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("scalar: ")
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=20)  # the peer's process holds stderr too: this waits for its end
    assert (process.returncode, errors) == (130, "python -m tests.benchmarks: stopped\n")


def test_no_memory_is_told_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "peak_mib", lambda: None)
    peer = worker.Peer()
    peer.load(toy.right, None)
    assert peer.memory() == {}


def test_a_page_gets_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- bench: times -->\nold\n<!-- end -->\nbelow\n", encoding="utf-8")
    report.rewrite(page, {"times": report.markdown(["peer", "ms"], [["tinygrad_edu", "1.5"], ["PyTorch", "2"]])})
    assert page.read_text(encoding="utf-8").splitlines() == [
        "above",
        "<!-- bench: times -->",
        "| peer | ms |",
        "| --- | ---: |",
        "| **tinygrad_edu** | 1.5 |",
        "| PyTorch | 2 |",
        "<!-- end -->",
        "below",
    ]
    with pytest.raises(SystemExit, match="has no place for the memory"):
        report.rewrite(page, {"memory": ""})
