"""A second seal, or signature under one, for a predecessor that is sealed already: kept, told of, and shown."""

from __future__ import annotations

from dataclasses import replace

from leither_lite.effects import Effects
from leither_lite.header import sign_seal
from leither_lite.node import frames
from leither_lite.node.evidence import ROWS_MAX, EvidenceBook
from leither_lite.node.view import View
from leither_lite.pulse.votes import Evidence, Place
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from tests.node.net import Net


def test_a_second_seal_is_evidence_on_every_node() -> None:
    """With a roster of one nobody is safe from it: the others see it, and keep both."""
    net = Net(3, 1).settled()
    net.beat(1)
    header = replace(net.nodes[0].group.header, tick=net.nodes[0].group.header.tick + 1).encode()
    signatures = ((net.keys[0].public, sign_seal(net.keys[0], header)),)
    net.hear(1, 0, frames.sealed_frame(header, signatures))
    net.run(1_000)
    for index in (1, 2):
        [shown] = View(net.nodes[index]).evidence()
        assert (shown["kind"], shown["account"]) == ("seal", net.keys[0].account.hex())
    [(_, content)] = net.stores[1].scan(*keys.EVIDENCE)
    assert Evidence.decode(content).holds(net.network)
    before = net.stores[1].content()
    net.hear(1, 0, frames.sealed_frame(header, signatures))
    assert net.stores[1].content() == before, "once"


def test_what_is_no_evidence() -> None:
    net = Net(3, 1).settled()
    net.beat(1)
    group, book, effects = net.nodes[0].group, EvidenceBook(MemoryStore()), Effects()
    other = replace(group.header, tick=group.header.tick + 1).encode()
    place = Place.of(group.header)
    good = (net.keys[0].public, sign_seal(net.keys[0], other))
    assert not book.compare(effects, group, place, group.sealed.header_bytes, group.sealed.signatures)
    assert not book.compare(effects, group, place._replace(term=9), other, (good,)), "of another term"
    assert not book.compare(effects, group, place, other, ((good[0], bytes(64)),)), "not signed"
    stranger = (net.keys[1].public, sign_seal(net.keys[1], other))
    assert not book.compare(effects, group, place, other, (stranger,)), "it has signed one thing"
    assert not effects.writes
    assert book.compare(effects, group, place, other, (good,))
    assert not book.compare(effects, group, place, other, (good,)), "once for each key"


def test_the_oldest_goes() -> None:
    store = MemoryStore()
    evidence = Evidence("seal", bytes(32), 0, bytes(32), 0, b"\x80", b"\x80")
    for number in range(ROWS_MAX + 3):
        book, effects = EvidenceBook(store), Effects()
        book.record(effects, evidence._replace(round=number))
        store.write(effects.writes)
    rows = [Evidence.decode(content).round for _, content in store.scan(*keys.EVIDENCE)]
    assert rows == list(range(3, ROWS_MAX + 3))
