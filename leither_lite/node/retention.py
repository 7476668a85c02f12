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
    if left_behind is not None:
        first = keys.sequence_of(left_behind[0])
        return [(key, None) for key, _ in reader.scan(*keys.pulses(first, min(first + SNAPSHOT_PULSES, base)))]
    oldest = first_pulse(reader)
    end = oldest - oldest % SNAPSHOT_PULSES + SNAPSHOT_PULSES
    if end > newest - board.retention_pulses:
        return []
    return [(key, None) for key, _ in reader.scan(*keys.pulses(oldest, end))]


def old_bodies(reader: Reader, newest: int, tick: int, publicity_ticks: int) -> list[Write]:
    """Delete bodies that are a quarter past their publicity: payments are private after it.

    Bodies go oldest first and every pulse has one, so the oldest is found by halving.
    """
    low, high = first_pulse(reader), newest
    while low < high:
        middle = (low + high) // 2
        if reader.get(keys.segment(middle, 0)) is None:
            low = middle + 1
        else:
            high = middle
    writes: list[Write] = []
    for pulse in range(low, min(low + BODIES_A_SEAL_MAX, newest)):
        sealed = sealed_at(reader, pulse)
        if sealed is None or sealed.header.tick + publicity_ticks + publicity_ticks // 4 >= tick:
            break
        writes += [(key, None) for key, _ in reader.scan(*keys.segments(pulse))]
    return writes


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
