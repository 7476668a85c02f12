"""What a seal lets go of: states, bodies and transfers that are older than this board keeps (docs/store.md).

Decides what is deleted, a bounded number of items at each seal, so that the store stops growing and no seal takes
long. Never deletes what the newest retained pulse needs, and never anything while nothing is sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from leither_lite.board import Board
from leither_lite.effects import Write
from leither_lite.ledger.group import SNAPSHOT_PULSES, base_pulse, first_pulse, sealed_at
from leither_lite.node.transfers import Transfer
from leither_lite.store import keys
from leither_lite.store.reader import Reader

BODIES_A_SEAL_MAX = 4


def old_pulses(reader: Reader, board: Board, newest: int) -> list[Write]:
    """Delete the oldest snapshot and the changes up to the next, when all of them are beyond the board's retention.

    What lies below the store's base, since a jump, is of no more use: it goes in parts of the same size.
    """
    base = base_pulse(reader)
    left_behind = next(reader.scan(*keys.pulses(0, base)), None)
    first = base if left_behind is None else keys.sequence_of(left_behind[0])
    # After a split others may still ask for what was before it.
    is_old = reader.get(keys.ORIGIN) is None or first < newest - board.retention_pulses
    if left_behind is not None and is_old:
        return [(key, None) for key, _ in reader.scan(*keys.pulses(first, min(first + SNAPSHOT_PULSES, base)))]
    oldest = first_pulse(reader)
    end = oldest - oldest % SNAPSHOT_PULSES + SNAPSHOT_PULSES
    if end > newest - board.retention_pulses:
        return []
    # From the base on: with the first pulses of a part of a split goes the last header of the whole.
    return [(key, None) for key, _ in reader.scan(*keys.pulses(base, end))]


def old_bodies(reader: Reader, newest: int, tick: int, publicity_ticks: int) -> list[Write]:
    """Delete bodies that are a quarter past their publicity: payments are private after it.

    Bodies go oldest first, so the oldest is found by halving: below the store's base, where others may still ask for
    what was before a split, and then from there on.
    """
    base = base_pulse(reader)
    pulse = _first_body(reader, 0, base)
    if pulse is None:
        pulse = _first_body(reader, base, newest)
    writes: list[Write] = []
    for _ in range(BODIES_A_SEAL_MAX):
        sealed = None if pulse is None or pulse >= newest else sealed_at(reader, pulse)
        if pulse is None or sealed is None or sealed.header.tick + publicity_ticks + publicity_ticks // 4 >= tick:
            break
        writes += [(key, None) for key, _ in reader.scan(*keys.segments(pulse))]
        pulse = _sealed_from(reader, pulse + 1)
    return writes


def _first_body(reader: Reader, low: int, end: int) -> int | None:
    """The first pulse from `low` to `end` - 1 whose body is here, where all after it have theirs."""
    high = end
    while low < high:
        middle = (low + high) // 2
        found = _filled_from(reader, middle)
        if found is not None and found < end and reader.get(keys.segment(found, 0)) is None:
            low = found + 1
        else:
            high = middle
    found = _filled_from(reader, low)
    return found if found is not None and found < end else None


def _filled_from(reader: Reader, pulse: int) -> int | None:
    """The first pulse from this one on whose header is over something: one that a parent has called for need not be."""
    found = _sealed_from(reader, pulse)
    while found is not None and (sealed := sealed_at(reader, found)) is not None and not sealed.entries:
        found = _sealed_from(reader, found + 1)
    return found


def _sealed_from(reader: Reader, pulse: int) -> int | None:
    """The first pulse with a header, from this one on."""
    found = next(reader.scan(keys.sealed(pulse), keys.PULSES[1]), None)
    return None if found is None else keys.sequence_of(found[0])


def old_transfers(
    reader: Reader,
    board: Board,
    added: int,
    newest: int,
    decode: Callable[[bytes], Transfer],
    forget: Callable[[int, Transfer], list[Write]],
) -> list[Write]:
    """Delete the oldest transfers beyond the board's number, two for each one added."""
    writes: list[Write] = []
    for key, content in islice(reader.scan(*keys.TRANSFERS), 2 * added):
        sequence = keys.sequence_of(key)
        if sequence > newest - board.transfers_max:
            break
        writes += forget(sequence, decode(content))
    return writes
