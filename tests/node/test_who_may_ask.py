"""A stranger, and members of other groups, ask a group's nodes for everything, in every way that frames offer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from leither_lite.codec import encode
from leither_lite.header import Header
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node import frames
from leither_lite.node.frames import kind_of
from leither_lite.sim.signatures import checked_once
from tests.node.asking import ANSWERS, OWN_ASKING, Secrets, questions, wrong
from tests.node.outside import ABOVE, ASKERS, STRANGERS, Outside, outside

KINDS: Final = sorted(frames.KINDS)
AGREED: Final = (frames.SEALED, frames.WANT_SEGMENTS, frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE)
TOLD_ABOVE: Final[dict[int, tuple[int, ...]]] = {
    frames.VOTE: AGREED,
    frames.PROPOSAL: AGREED,
    frames.SEAL_VOTE: AGREED,
    frames.WANT_SEGMENTS: (frames.SEGMENT,),
    frames.WANT_UPPER: (frames.UPPER,),
}
"""What may come back beside, to who is on the roster of a group above."""
REFUSED: Final = sorted(frames.KINDS - frames.STRANGERS - frames.BETWEEN_GROUPS)
"""What a stranger is told that it is not for it."""


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture(scope="module")
def asked() -> Outside:
    """One for all: nothing that is asked changes it."""
    return outside()


def test_every_kind_is_asked() -> None:
    """A new kind of frame has to be thought of here."""
    assert frames.KINDS == ANSWERS.keys()


def is_above(question: bytes, answer: bytes, name: str) -> bool:
    """True for what only those may be told who keep the books of a group above: of that one, its state and bodies."""
    if name not in ABOVE or kind_of(answer) not in TOLD_ABOVE.get(kind_of(question), ()):
        return False
    if kind_of(answer) == frames.SEALED:
        content = frames.values_of(answer)[1]
        assert isinstance(content, bytes)
        return Header.decode(content).level > 1
    return True


def is_before(asked: Outside, question: bytes, answer: bytes, name: str) -> bool:
    """True for what all members of a group may be told that has been split: what was sealed before that."""
    if name in STRANGERS or kind_of(question) != frames.WANT_PULSE:
        return False
    if kind_of(answer) == frames.NOT_HERE:
        return True
    content = frames.values_of(answer)[1]
    assert isinstance(content, bytes)
    return SealedPulse.decode(content).header.bits < asked.node(asked.members[0]).group.bits


@pytest.mark.parametrize("name", ASKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_outside_is_told(asked: Outside, kind: int, name: str) -> None:
    """No page of level 1, no record, no body, no receipt: by no argument that there is."""
    key, tried, answered = asked.askers[name], 0, 0
    for index in asked.members:
        node = asked.node(index)
        secrets = Secrets(node)
        for question in questions(kind, asked.known, key):
            tried += 1
            for answer in asked.ask(index, key, question):
                answered += 1
                if is_above(question, answer, name):
                    assert [each for each in secrets.books if each in answer] == []
                elif not is_before(asked, question, answer, name):
                    assert wrong(question, answer, key) == "", (question.hex(), answer.hex())
                    assert secrets.told(question, answer) == [], (question.hex(), answer.hex())
    print(f"{name}: {tried} frames of kind {kind}, {answered} answers")
    assert tried >= 8


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_stranger_is_refused(asked: Outside, kind: int, name: str) -> None:
    """A node without a seat above answers nothing else."""
    key = asked.askers[name]
    for question in questions(kind, asked.known, key):
        told = [each for each in asked.ask(asked.members[0], key, question) if kind_of(each) not in OWN_ASKING]
        assert told == [frames.refused_frame(kind, "not_a_member")]


def test_a_member_is_told(asked: Outside) -> None:
    """The same questions are answered where they are allowed: what is refused above is there."""
    target, other = asked.members
    key, node = asked.groups.keys[other], asked.node(target)
    secrets = Secrets(node)
    found: set[bytes] = set()
    for kind in (frames.WANT_PULSE, frames.WANT_STATE):
        for question in questions(kind, asked.known, key):
            for answer in asked.ask(target, key, question):
                found.update(each for each in secrets.books if each in answer)
    missing = [each for each in secrets.books if each not in found]
    print(f"{len(found)} of {len(secrets.books)} secrets")
    assert len(missing) < len(secrets.books) // 2


def test_unasked_nothing_comes(asked: Outside) -> None:
    """Strangers that are connected while payments are sealed hear nothing of them."""
    groups = asked.groups
    asked.unasked.clear()
    before = [node.group.header.pulse for node in groups.nodes]
    for turn in range(6):
        groups.pay(turn, asked.members[turn % 2] if turn not in asked.members else len(groups.nodes) - 1, 1)
        groups.run(3_000)
    groups.until(groups.is_at_rest)
    assert [node.group.header.pulse for node in groups.nodes] != before
    assert {kind_of(content) for content in asked.unasked} <= OWN_ASKING


def test_a_body_under_way(asked: Outside) -> None:
    """Segments of what is being agreed on are for the group alone."""
    groups = asked.groups
    target = next(index for index in asked.members if asked.node(index).books.is_on_roster)
    bodies = asked.node(target).committee._bodies
    groups.pay(target, next(index for index in range(2) if index != target), 1)
    groups.until(lambda: bool(bodies._segments))
    digests = list(bodies._segments)
    question = encode([frames.WANT_SEGMENTS, [*digests]])
    for name in ASKERS:
        told = asked.ask(target, asked.askers[name], question)
        assert {kind_of(content) for content in told} <= {frames.REFUSED}, name
    other = next(index for index in asked.members if index != target)
    told = asked.ask(target, groups.keys[other], question)
    assert [kind_of(content) for content in told] == [frames.SEGMENT] * len(digests)
    groups.until(groups.is_at_rest)
