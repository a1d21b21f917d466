"""The benchmarks measure what they say: all peers do the same work, and a page gets the tables it asks for."""

from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.measure import DisagreementError, _check_losses, installed
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


def test_peers_that_do_other_work_are_refused() -> None:
    workload = Workload("toy", "", dict, {})
    with pytest.raises(DisagreementError, match=r"toy: tinygrad_edu computed 2.5 in step 1, PyTorch 2.0"):
        _check_losses(workload, {REFERENCE: [1.0, 2.0], OURS: [1.0, 2.5]})


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
