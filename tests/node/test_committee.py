"""The committee's table: censors, wrong clocks, liars, restored members, and frames that come too early or changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.header import header_digest, segment_digest
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Payment
from leither_lite.ledger.signed import Status
from leither_lite.limits import SEGMENT_BYTES_MAX
from leither_lite.node import events as ev, frames
from leither_lite.node.books import LEFT_OUT_PULSES_MAX
from leither_lite.node.frames import kind_of
from leither_lite.node.peers import GIVEN_BYTES_MAX
from leither_lite.node.view import View
from leither_lite.pulse.agreement import ROUNDS_AHEAD_MAX
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Place, Proposal, SealVote, Vote
from tests.node.net import PULSE_MS, Net


def place_of(net: Net, index: int) -> Place:
    """Where a node agrees."""
    return net.nodes[index].committee.engine.place


def test_a_chief_that_leaves_out_is_voted_nil_and_a_backup_includes_it() -> None:
    net = Net(4, 4).settled()
    books = net.nodes[0].books
    receive = books.receive

    def censored(operation: Operation, content: bytes, peer: bytes, *, waits: bool = True) -> Status:
        is_payers = isinstance(operation, Payment) and operation.payer_key == net.keys[1].public
        return Status.BODY_FULL if is_payers else receive(operation, content, peer, waits=waits)

    books.receive = censored  # type: ignore[method-assign]
    net.beat(1)
    net.ask(0, ev.Distribute(0, net.keys[3].account, 1, "the chief has something to propose", None))
    name = net.pay(1, 2)
    since = net.pulses[0]
    while net.state(1, name) == "pending":
        net.run(PULSE_MS)
        assert net.pulses[0] <= since + LEFT_OUT_PULSES_MAX + 3, "left out for too long"
        net.ask(0, ev.Distribute(0, net.keys[3].account, 1, "and again", None))
    sealed = net.nodes[1].group.header.pulse
    assert sealed >= since + LEFT_OUT_PULSES_MAX, "for a while the chief may not have had it"
    net.run(3_000)
    assert net.agree()
    assert net.blamed == []


@pytest.mark.parametrize("off", [100, 7])
def test_a_tick_too_far_off_gets_nil_and_the_next_proposes(off: int) -> None:
    """What had been proposed in vain is proposed again by the next, without anything new having come."""
    net = Net(4, 4).settled()
    net.nodes[0].clock._base_tick += off
    name = net.pay(1, 2)
    net.run(6_000)
    assert net.state(1, name) == "credited"
    assert net.nodes[0].group.header.tick <= net.nodes[1].tick(net.now_ms)
    assert net.agree()


def test_a_tick_a_little_off_is_taken() -> None:
    net = Net(4, 4).settled()
    net.nodes[0].clock._base_tick += 4
    name = net.pay(1, 2)
    net.run(1_100)
    assert net.state(1, name) == "credited"
    assert net.nodes[0].group.header.tick > net.nodes[1].clock._base_tick + net.now_ms // PULSE_MS


def test_two_votes_of_one_member_are_shown_as_evidence() -> None:
    net = Net(4, 4).settled()
    place = place_of(net, 0)
    for digest in (NIL, bytes(32), bytes([1]) * 32):
        vote = Vote.make(net.network, net.keys[3], place, 0, PREVOTE, digest)
        net.hear(0, 3, frames.message_frame(vote))
    [shown] = View(net.nodes[0]).evidence()
    assert (shown["kind"], shown["account"]) == ("prevote", net.keys[3].account.hex())
    assert [note.value["account"] for note in net.notes[0] if note.kind == "evidence"] == [shown["account"]]
    assert net.nodes[0].committee.evidence.count == 1
    name = net.pay(1, 2)
    net.run(8_000)
    assert net.state(1, name) == "credited"
    assert net.agree()
    net.start(0)
    assert len(View(net.nodes[0]).evidence()) == 1
    assert net.nodes[0].committee.evidence.count == 1


def test_evidence_rows_are_numbered_on_after_a_restart() -> None:
    net = Net(4, 4).settled()
    for number in range(3):
        place = place_of(net, 0)
        for digest in (NIL, bytes(32)):
            vote = Vote.make(net.network, net.keys[3], place, number, PRECOMMIT, digest)
            net.hear(0, 3, frames.message_frame(vote))
        net.start(0)
    assert [shown["round"] for shown in View(net.nodes[0]).evidence()] == [2, 1, 0]


def own_words(net: Net, index: int) -> list[Any]:
    """Collects what a node signs in the agreement from now on."""
    words: list[Any] = []
    takes: dict[int, Any] = {frames.VOTE: Vote.take, frames.PROPOSAL: Proposal.take, frames.SEAL_VOTE: SealVote.take}

    def tamper(source: int, target: int, content: bytes) -> bytes:
        if content[1] in takes:
            message = takes[content[1]](frames.one(content, "bad_frame"))
            if message.key == net.keys[index].public:
                words.append(message)
        return content

    net.tamper = tamper
    return words


def test_a_restored_member_signs_nothing_before_the_next_term() -> None:
    net = Net(4, 4).settled()
    net.start(3, restored=True)
    words = own_words(net, 3)
    name = net.pay(1, 2)
    net.run(4_000)
    assert net.state(1, name) == "credited"
    assert net.agree()
    net.start(3)
    net.run(12_000)
    net.beat(2)
    assert words == [], "a restart is no way around"
    assert net.nodes[3].committee.comeback.silent
    net.ask(0, ev.ChangeRoster(0, tuple(key.public for key in net.keys)))
    net.run(4_000)
    assert not net.nodes[3].committee.comeback.silent
    net.kill(2)
    name = net.pay(1, 0)
    net.run(5_000)
    assert net.state(1, name) == "credited"
    assert words, "without it there is no quorum"
    assert {word.place.term for word in words} == {1}
    net.start(3)
    assert not net.nodes[3].committee.comeback.silent


def test_a_restored_member_that_has_not_heard_a_quorum_stays_silent() -> None:
    net = Net(4, 4).settled()
    net.kill(0)
    net.kill(1)
    net.start(3, restored=True)
    assert not net.nodes[3].comeback.may_speak(net.nodes[3].group.header, opens_term=True, on_roster=True)
    net.run(5_000)
    header = net.nodes[3].group.header
    assert not net.nodes[3].committee.comeback.may_speak(
        replace(header, pulse=header.pulse + 5), opens_term=True, on_roster=True
    )


def test_a_word_that_came_a_pulse_early_counts_when_it_is_repeated() -> None:
    """Node 3 has not yet the pulse that the others build on: what they say then must not be lost for ever."""
    net = Net(4, 4).settled()
    net.kill(2)
    late = (frames.SEALED, frames.SEAL_VOTE, frames.PULSE, frames.SEGMENT, frames.STATUS)
    held_back = [True]
    net.tamper = lambda source, target, content: (
        None if held_back[0] and target == 3 and content[1] in late else content
    )
    first = net.pay(0, 1)
    net.run(2_500)
    held_back[0] = False
    net.run(20_000)
    name = net.pay(1, 0)
    net.run(6_000)
    assert [net.state(0, first), net.state(1, name)] == ["credited", "credited"]
    assert net.agree()


def test_a_word_of_a_round_too_far_off_counts_when_it_is_repeated_there() -> None:
    net = Net(4, 4).settled()
    far = ROUNDS_AHEAD_MAX + 1
    place = place_of(net, 3)
    votes = [Vote.make(net.network, net.keys[member], place, far, PREVOTE, NIL) for member in (0, 1)]
    engine = net.nodes[3].committee.engine
    for _ in range(2):
        for member, vote in enumerate(votes):
            net.hear(3, member, frames.message_frame(vote))
    assert engine.agreement.round == far
    assert [engine.agreement.vote(far, PREVOTE, vote.key) for vote in votes] == votes
    early = Vote.make(net.network, net.keys[0], place._replace(previous=bytes(32)), 0, PREVOTE, NIL)
    engine.place = place
    net.hear(3, 0, frames.message_frame(early))
    engine.place = early.place
    net.hear(3, 0, frames.message_frame(early))
    assert engine.agreement.vote(0, PREVOTE, early.key) == early
    assert net.blamed == []


def test_a_vote_on_what_is_sealed_is_answered_with_the_seal() -> None:
    net = Net(4, 4).settled()
    header = net.nodes[0].group.header
    place = place_of(net, 0)._replace(previous=header.previous, term=header.term)
    vote = Vote.make(net.network, net.keys[3], place, 9, PREVOTE, NIL)
    effects = net.hear(0, 3, frames.message_frame(vote))
    sealed = net.nodes[0].group.sealed
    assert effects.sends == [(net.keys[3].public, frames.sealed_frame(sealed.header_bytes, sealed.signatures))]
    elsewhere = Vote.make(net.network, net.keys[3], place._replace(previous=bytes(32)), 9, PREVOTE, NIL)
    assert net.hear(0, 3, frames.message_frame(elsewhere)).sends == []


def test_a_proposal_with_another_list_counts_against_who_passed_it_on() -> None:
    """The list is signed by nobody; the true proposal must still be taken after it."""
    net = Net(4, 4).settled()
    spoiled: list[int] = []

    def tamper(source: int, target: int, content: bytes) -> bytes:
        if content[1] != frames.PROPOSAL or target != 3:
            return content
        proposal = Proposal.take(frames.one(content, "bad_frame"))
        if proposal.key == net.keys[source].public and source == 0 and not spoiled:
            spoiled.append(source)
            other = proposal._replace(entries=((bytes(32), bytes(36), bytes(32)),))
            net._send(1, 3, frames.message_frame(other))
        return content

    net.tamper = tamper
    net.kill(2)
    name = net.pay(1, 0)
    net.run(1_300)
    assert spoiled
    assert net.blamed == [(3, 1)]
    assert net.nodes[3].hall.refused == {"bad_proposal": 1}
    net.run(300)
    assert net.state(1, name) == "credited", "in the first round: three of three were needed"
    assert net.nodes[3].committee.engine.agreement.round == 0


@pytest.mark.parametrize("kind", [frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE])
def test_words_of_members_that_are_not_on_the_roster_count_against_them(kind: int) -> None:
    net = Net(4, 3).settled()
    place = place_of(net, 0)
    header = replace(net.nodes[0].group.header, previous=place.previous, pulse=net.pulses[0] + 1, term=place.term)
    words: dict[int, Vote | Proposal | SealVote] = {
        frames.VOTE: Vote.make(net.network, net.keys[3], place, 0, PREVOTE, NIL),
        frames.PROPOSAL: Proposal.make(net.network, net.keys[3], place, 0, -1, header.encode(), (), ()),
        frames.SEAL_VOTE: SealVote.make(net.keys[3], header.encode(), 0, ()),
    }
    net.hear(0, 3, frames.message_frame(words[kind]))
    assert net.blamed == [(0, 3)]
    assert net.nodes[0].hall.refused.keys() <= {"not_on_roster", "not_proposer"}


def test_a_body_that_was_lost_is_asked_for() -> None:
    net = Net(4, 4).settled()
    net.kill(3)
    dropped: list[int] = []

    def tamper(source: int, target: int, content: bytes) -> bytes | None:
        if content[1] == frames.SEGMENT and target == 2 and source == 0:
            dropped.append(source)
            return None
        return content

    net.tamper = tamper
    name = net.pay(1, 2)
    net.run(3_500)
    assert dropped
    assert net.state(1, name) == "credited"


def test_who_asks_for_segments_gets_those_that_are_here() -> None:
    net = Net(4, 4).settled()
    assert net.hear(0, 3, encode([frames.WANT_SEGMENTS, [bytes(32)] * 32])).sends == []
    assert net.blamed == []
    net.hear(0, 3, encode([frames.WANT_SEGMENTS, [bytes(32)] * 33]))
    net.hear(0, 3, encode([frames.WANT_SEGMENTS, [bytes(31)]]))
    assert net.blamed == [(0, 3)] * 2


@pytest.mark.parametrize("step_ms", [1_000, 1_005, 1_010, 1_015, 1_020])
def test_all_restart_at_any_step_and_the_lock_is_brought_back(step_ms: int) -> None:
    """The proposer of the locked body and one more never come back: what is left must seal that very body, or what
    nobody was locked on."""
    net = Net(4, 4).settled()
    name = net.pay(1, 2)
    net.run(step_ms)
    locked = {node.committee.engine.agreement.locked for node in net.nodes} - {NIL}
    net.stop()
    for index in (1, 2, 3):
        net.start(index)
    net.run(10_000)
    assert net.state(1, name) == "credited"
    assert len({net.nodes[index].group.digest for index in (1, 2, 3)}) == 1
    if len(locked) == 1 and net.nodes[1].group.header.pulse == net.pulses[1]:
        assert header_digest(net.nodes[1].group.sealed.header_bytes) in {*locked, net.nodes[1].group.digest}


def test_nothing_is_proposed_where_nothing_waits() -> None:
    net = Net(4, 4).settled()
    said: list[bytes] = []

    def tamper(source: int, target: int, content: bytes) -> bytes:
        said.append(content)
        return content

    net.tamper = tamper
    before = net.pulses
    net.run(60 * PULSE_MS)
    assert net.pulses == before
    assert {codec.items(codec.decode(content), 9, "")[0] for content in said} <= {frames.STATUS, frames.TICK}


def test_segments_are_given_once_for_a_frame_and_so_many_in_a_turn() -> None:
    """Who asks for much with little pays for it, and gets no more than a turn has to give."""
    net = Net(4, 4).settled()
    segment = bytes(SEGMENT_BYTES_MAX)
    net.nodes[0].committee._bodies.keep(segment)
    want = encode([frames.WANT_SEGMENTS, [segment_digest(segment)] * 32])
    source = net.keys[1].public
    effects = net.nodes[0].turn([ev.FrameReceived(source, want)] * 200, net.now_ms)
    given = [content for _, content in effects.sends if kind_of(content) == frames.SEGMENT]
    assert len(given) == GIVEN_BYTES_MAX // SEGMENT_BYTES_MAX
    assert sum(work for key, work in effects.work if key == source) >= 200
