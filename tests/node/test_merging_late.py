"""Who comes late to a merge: what others give it, and what nobody can make it believe or do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from leither_lite.codec import decode, encode, items, octets_upto
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import header_digest
from leither_lite.ledger.merged import Merged, opened_by
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import encode_willing, willing_digest
from leither_lite.node import becoming, frames
from leither_lite.node.becoming import Becoming
from leither_lite.node.catchup import FAILED_MS
from leither_lite.node.events import FrameReceived
from leither_lite.node.group_states import sealed_of, take_group_state
from leither_lite.node.states import STATE_BYTES_MAX
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from tests.node.groups import Groups
from tests.node.test_merging import (
    BOTH,
    HIGH,
    LOW,
    MERGED_MS,
    bits,
    busy,
    has_merged,
    has_offered,
    node,
    sealed_first,
    standing,
)

LATE = LOW[1]
REST = (LOW[0], *HIGH)
HalfFor = Callable[[Becoming, bytes], tuple[bytes, bytes] | None]


@pytest.fixture(name="groups")
def _groups() -> Iterator[Groups]:
    with checked_once():
        yield standing()


def one_late(groups: Groups, *unheard: int, until: Callable[[], bool] = lambda: True) -> str:
    """Let all but one merge and go on; what that one has ordered before. It hears nothing of such `unheard` kinds."""
    busy(groups, lambda: has_offered(groups, BOTH))
    name = groups.pay(LATE, 4, 2)
    groups.passes = lambda source, peer, content: (
        peer != groups.keys[LATE].public or frames.kind_of(content) not in unheard
    )
    first = REST[0]
    busy(
        groups,
        lambda: (
            has_merged(groups, REST)
            and node(groups, first).group.header.pulse >= sealed_first(groups, first).pulse + 3
            and until()
        ),
    )
    assert bits(groups, LATE) == 3
    return name


def given(groups: Groups, giver: int) -> tuple[bytes, Merged]:
    """What a member of the merged group gives to who was in the lower one."""
    high, merged = (node(groups, giver).reader.get(key) or b"" for key in (keys.HALVES[1], keys.MERGED))
    return high, Merged.decode(merged)


def test_each_side_gets_the_other(groups: Groups) -> None:
    """Whoever has asked before: what was the one's answer is not the other's next part."""
    busy(groups, lambda: has_merged(groups))
    giver = node(groups, LATE)
    halves = [giver.reader.get(key) or b"" for key in keys.HALVES]
    digests = [header_digest(sealed_of(half).header_bytes) for half in halves]
    for asked in (0, 1, 0, 0, 1):
        effects = Effects()
        giver.catchup.giving.state(effects, [frames.WANT_STATE, digests[asked], 0], groups.keys[3].public)
        [(_, frame)] = effects.sends
        _, named, part, parts, content = items(decode(frame), 5, "bad_state_part")
        assert (named, part, parts) == (digests[asked], 0, 1)
        assert items(decode(octets_upto(content, STATE_BYTES_MAX, "bad_state")), 2, "bad_state")[0] == halves[1 - asked]


def test_signatures_are_kept_that_were_checked(groups: Groups) -> None:
    """Though the root header is known: what is kept is given to those who do not know it."""
    one_late(groups, frames.UPPER, frames.STATE, frames.PULSE)
    high, merged = given(groups, HIGH[0])
    place = node(groups, LATE).between.trunk.home()
    assert place is not None
    bare = merged._replace(shown=replace(merged.shown, signatures=()))
    late = node(groups, LATE).between.becoming
    with pytest.raises(RemoteError, match="no_quorum"):
        late.join(encode([high, bare.encode()]), place)
    writes = late.join(encode([high, merged.encode()]), place)
    assert writes is not None
    assert Merged.decode(dict(writes)[keys.MERGED] or b"").shown.signatures == merged.shown.signatures
    again = late.join(encode([high, bare.encode()]), place)
    assert again is not None
    assert Merged.decode(dict(again)[keys.MERGED] or b"").shown.signatures == merged.shown.signatures


def test_one_of_them_has_not_what_they_were(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come late itself, and jumped: others are asked before its newest state is taken."""
    name = one_late(groups, frames.UPPER, frames.STATE, frames.PULSE)
    real: HalfFor = Becoming.half_for
    without = groups.keys[HIGH[0]].public

    def half_for(self: Becoming, digest: bytes) -> tuple[bytes, bytes] | None:
        return None if self._key.public == without else real(self, digest)

    monkeypatch.setattr(Becoming, "half_for", half_for)
    node(groups, HIGH[0]).catchup.giving._state = b"", b""  # what it has given before
    answers: list[int] = []

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        kind = frames.kind_of(content)
        if peer == groups.keys[LATE].public and kind == frames.STATE:
            answers.append(source)
        return peer != groups.keys[LATE].public or kind != frames.UPPER

    groups.passes = passes
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert answers == [HIGH[0], REST[0]]
    assert groups.view(LATE).transfer(name)["state"] == "credited"
    assert sealed_first(groups, LATE) == sealed_first(groups, REST[0])


@pytest.mark.parametrize("alone", [False, True])
def test_nobody_has_what_they_were(groups: Groups, alone: bool) -> None:
    """When the first term is over the newest state is taken, and nobody is blamed; `alone`: one is within reach."""

    def is_over() -> bool:
        return node(groups, REST[0]).group.header.term > 0

    one_late(groups, frames.UPPER, frames.STATE, frames.PULSE, until=is_over)
    silent = groups.keys[HIGH[0]].public if alone else b""
    groups.run(3 * PULSE_MS)
    for index in REST:
        assert node(groups, index).reader.get(keys.MERGED) is None
        node(groups, index).catchup.giving._state = b"", b""  # what it has given before
    if alone:
        node(groups, LATE).peers.connected[silent].bits = 0  # it has told where it is
    groups.passes = lambda source, peer, content: (
        {groups.keys[source].public, peer} != {silent, groups.keys[LATE].public}
        or frames.kind_of(content) not in (frames.STATUS, frames.STATE, frames.WANT_STATE, frames.PULSE)
    )
    blamed: set[str] = set()

    def look() -> bool:
        late, now_ms = node(groups, LATE), groups.agenda.now_ms
        blamed.update(late.hall.refused)
        failed = [peer.failed_ms for peer in late.peers.connected.values() if peer.failed_ms is not None]
        if alone and any(now_ms - failed_ms < FAILED_MS for failed_ms in failed):
            late.catchup.poll(Effects(), now_ms)  # that nobody is to be asked just now is no reason to begin anew
        return bits(groups, LATE) == 2

    groups.until(look, 10 * PULSE_MS)
    assert "bad_state" not in blamed


def test_a_state_with_the_last_header(groups: Groups) -> None:
    """In one turn with the last header of the own half, which is not on the disk yet: it is refused, and nothing
    stops."""
    leader = next(index for index in LOW if node(groups, index).books.is_on_roster)
    late = next(index for index in LOW if index != leader)
    key = groups.keys[late].public
    unheard = {frames.STATE, frames.PULSE, frames.SEALED, frames.UPPER}
    groups.passes = lambda source, peer, content: peer != key or frames.kind_of(content) not in unheard
    busy(groups, lambda: has_merged(groups, (leader, *HIGH)))
    reader = node(groups, leader).reader
    lacks: list[bytes] = []
    for row, content in reader.scan(*keys.PULSES):
        pulse = keys.sequence_of(row)
        if row == keys.sealed(pulse) and pulse > node(groups, late).group.header.pulse:
            segments = [segment for _, segment in reader.scan(*keys.segments(pulse))]
            if SealedPulse.decode(content).header.bits == 3:
                lacks.append(encode([frames.PULSE, content, list(segments)]))
    assert lacks
    high, merged = given(groups, leader)
    state = encode([frames.STATE, bytes(32), 0, 1, encode([high, merged.encode()])])

    def is_asked() -> bool:
        asked = node(groups, late).catchup._asked
        return asked is not None and asked[1] > 0 and asked[0] == groups.keys[leader].public

    for each in lacks:
        groups.until(is_asked, 20 * PULSE_MS)
        groups.machines[late].put(FrameReceived(groups.keys[leader].public, each))
        if each is lacks[-1]:
            groups.machines[late].put(FrameReceived(groups.keys[leader].public, state))
        groups.run(50)
    assert groups.failures == []
    groups.passes = lambda source, peer, content: True
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert node(groups, late).group.digest == node(groups, leader).group.digest


def test_a_forged_half_costs_little(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at only once a root header shows what is made of it."""
    one_late(groups, frames.UPPER, frames.STATE, frames.PULSE)
    high, merged = given(groups, HIGH[0])
    late = node(groups, LATE)
    place = late.between.trunk.home()
    assert place is not None
    sealed = sealed_of(high)
    forged = replace(sealed, header_bytes=replace(sealed.header, tick=sealed.header.tick + 1).encode())
    heads = late.group.digest, header_digest(forged.header_bytes)
    opened = opened_by(*heads, willing_digest(encode_willing(merged.willing)))
    false = merged._replace(shown=replace(merged.shown, state=opened))
    monkeypatch.delattr(becoming, "take_group_state")
    half = encode([forged.encode(), *items(decode(high), 6, "bad_state")[1:]])
    with pytest.raises(RemoteError, match="shown_mismatch"):
        late.between.becoming.join(encode([half, false.encode()]), place)


def test_a_receipt_comes_once_in_a_state(groups: Groups) -> None:
    one_late(groups, frames.UPPER, frames.STATE, frames.PULSE)
    high, _ = given(groups, HIGH[0])
    header = sealed_of(high).header
    place = header.prefix, header.bits
    parts = items(decode(high), 6, "bad_state")
    receipt = Receipt(groups.keys[4].account, 0, groups.keys[11].account, 1, 0, bytes(32), 1)
    twice = encode([*parts[:5], [[receipt.value(), 1], [receipt.value(), 2]]])
    take_group_state(MemoryStore(), header.network, high, place, header.node)
    with pytest.raises(RemoteError, match="comes twice"):
        take_group_state(MemoryStore(), header.network, twice, place, header.node)
