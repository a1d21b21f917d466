"""Equal modules one after the other: where a row of modules and ops repeats itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from viz.parts import Call, Card

Unit: TypeAlias = Card | Call
_LONGEST_PERIOD = 8
_FEWEST = 3


def structures(calls: Call) -> dict[Call, int]:
    """A number for each call: equal ones for the same label with the same ops and modules in it."""
    known: dict[tuple[object, ...], int] = {}
    found: dict[Call, int] = {}
    for call in reversed(list(calls.within())):
        inner = tuple(found[part] if isinstance(part, Call) else part.op_name for part in call.body)
        found[call] = known.setdefault((call.label, *inner), len(known))
    return found


def stacks(row: Sequence[Unit], structure: dict[Call, int]) -> list[tuple[int, int, int]]:
    """Where a row of folded calls and of ops repeats: (start, period, times), not overlapping. Linear in its length.

    Each repetition holds a module and computes with what the one before it gave, as layers do.
    """
    signs: list[object] = [structure[unit] if isinstance(unit, Call) else unit.op_name for unit in row]
    reach = {period: _reach(signs, period) for period in range(1, _LONGEST_PERIOD + 1)}
    found, start = [], 0
    while start < len(row):
        repeated = {period: reach[period][start] // period + 1 for period in reach}
        period = max(reach, key=lambda p: (repeated[p] >= _FEWEST, repeated[p] * p, -p))
        module = any(isinstance(unit, Call) for unit in row[start : start + period])
        starts = range(start, start + repeated[period] * period, period)
        times = _chained(row, starts) if module and repeated[period] >= _FEWEST else 0
        if times >= _FEWEST:
            found.append((start, period, times))
            start += period * times
        else:
            start += 1
    return found


def _reach(signs: list[object], period: int) -> list[int]:
    """From each place on, for how many places in a row the sign is the same as one period later."""
    reach = [0] * (len(signs) + 1)
    for place in range(len(signs) - period - 1, -1, -1):
        reach[place] = reach[place + 1] + 1 if signs[place] == signs[place + period] else 0
    return reach


def _chained(row: Sequence[Unit], starts: range) -> int:
    """How many repetitions, from the first on, each use something of the one before."""
    before: set[Card] = set()
    for times, start in enumerate(starts):
        cards = {card for unit in row[start : start + starts.step] for card in ops(unit)}
        if times and not any(edge.source in before for card in cards for edge in card.inputs):
            return times
        before = cards
    return len(starts)


def ops(unit: Unit) -> list[Card]:
    """The ops of a unit, in order."""
    return list(unit.ops()) if isinstance(unit, Call) else [unit]
