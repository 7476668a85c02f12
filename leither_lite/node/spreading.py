"""How a new page comes to all who wait for it, 16 wide, and who carries a seal up (docs/protocol.md, section 9.3).

Decides whom each of a committee tells, whom it names to those to tell in turn, and whose turn it is to go up. Never
sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

WIDE: Final = 16
"""One of a committee tells nodes of at most so many children by itself."""
RELAYS_MAX: Final = 30
"""So many may be named to one that is told."""

_Each = TypeVar("_Each")


class Told(NamedTuple):
    """One that is told of a page, by its public key; `relays`: whom it is to tell in turn."""

    key: bytes
    relays: tuple[bytes, ...] = ()


def turned(items: Sequence[_Each], by: int) -> list[_Each]:
    """The same in the same order, but beginning with another: number `by`, counted round and round."""
    at = by % len(items) if items else 0
    return [*items[at:], *items[:at]]


def told_by(
    own: int, rosters: Sequence[tuple[bytes, ...]], is_here: Callable[[bytes], bool], turn: int = 0
) -> Iterator[Told]:
    """Whom member number `own` of a committee tells of a page, of its children's rosters.

    The children are cut into at most 16 spans. It tells a node of one child in each, one that is connected
    (`is_here`) where there is any, and names to it a node of each other. Every member begins with another child, and
    takes another node of each: so a child hears a page over as many ways as the committee has members. With every
    `turn` all begin with the next child: nobody who passes nothing on keeps a span from a page for long.
    """
    awake = [roster for roster in rosters if roster]
    size = -(-len(awake) // WIDE)
    for start in range(0, len(awake), max(size, 1)):
        span = turned(awake[start : start + size], own + turn)
        ways = [turned(roster, own) for roster in span]
        first = next((key for way in ways for key in way if is_here(key)), ways[0][0])
        yield Told(first, tuple(way[0] for way in ways if first not in way))


def carriers(roster: Sequence[bytes], signed: Sequence[bytes], number: int, tries: int = 0) -> list[bytes]:
    """Who carries a seal to number `number` of the committee above: the one of the `roster` whose turn it is, another
    with every try; where that one has not `signed` it, as far as is known here, one of those who have, too."""
    turn = number + tries
    due = [roster[turn % len(roster)]] if roster else []
    if signed and not any(key in signed for key in due):
        due.append(signed[turn % len(signed)])
    return due
