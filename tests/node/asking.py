"""All that somebody outside a group can ask its nodes for, a list for each kind of frame, and what may come back.

A kind that nobody has thought of here makes `questions` fail, and so the tests that ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.header import header_digest
from leither_lite.identity import Key
from leither_lite.ledger.committee import Held, Willingness
from leither_lite.ledger.joins import Application, Invite, InvitedJoin
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.records import Role
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.settling import Reclaim, Resolve
from leither_lite.limits import ID_BYTES, UINT_MAX
from leither_lite.node import frames
from leither_lite.node.turn import Node
from leither_lite.pulse.votes import Proposal, SealVote, Vote
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import is_prefix, leaf, record_digest
from leither_lite.tree.proof_cbor import handover_value

SIGN_OF_LIFE: Final = 2
"""The wire's own: a node gets to see none."""
NOTHING: Final = bytes(32)
OWN_ASKING: Final = frozenset({frames.WANT_PULSE, frames.WANT_STATE, frames.WANT_BRANCH, frames.STATUS})
"""What a node says of itself, or wants from whoever says to have it: it gives nothing away."""
REFUSED: Final = frozenset({frames.REFUSED})

ANSWERS: Final[dict[int, frozenset[int]]] = {
    frames.OPERATION: REFUSED,
    SIGN_OF_LIFE: REFUSED,
    frames.STATUS: OWN_ASKING,
    frames.VOTE: REFUSED,
    frames.PROPOSAL: REFUSED,
    frames.SEAL_VOTE: REFUSED,
    frames.SEGMENT: REFUSED,
    frames.WANT_SEGMENTS: REFUSED,
    frames.SEALED: OWN_ASKING,
    frames.WANT_PULSE: REFUSED,
    frames.PULSE: REFUSED,
    frames.WANT_STATE: REFUSED,
    frames.STATE: frozenset(),
    frames.WANT_CHARTER: frozenset({frames.CHARTER}),
    frames.CHARTER: frozenset(),
    frames.APPLICATION: frozenset(),
    frames.ADDRESS: REFUSED,
    frames.TICK: REFUSED,
    frames.HELD: REFUSED,
    frames.REFUSED: OWN_ASKING,
    frames.NOT_HERE: OWN_ASKING,
    frames.CHECKPOINT: REFUSED,
    frames.BRANCH: frozenset({frames.WANT_BRANCH}),
    frames.WANT_BRANCH: frozenset({frames.BRANCH}),
    frames.CHILD: frozenset({frames.BRANCH}),
    frames.WANT_UPPER: frozenset(),
    frames.UPPER: frozenset(),
    frames.FIND: frozenset({frames.FOUND}),
    frames.FOUND: frozenset(),
    frames.ASK_RECEIPTS: frozenset({frames.OPERATION}),
}
"""For each kind that somebody from outside may send, the kinds that may come back."""


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody asks by: more than anybody outside a group can know of it."""

    network: bytes
    pulses: tuple[int, ...]
    digests: tuple[bytes, ...]
    places: tuple[tuple[int, int, bytes], ...]
    accounts: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]
    overheard: tuple[bytes, ...]

    @classmethod
    def of(cls, node: Node, places: Iterable[tuple[int, int, bytes]], overheard: Iterable[bytes]) -> Known:
        """All that could be asked for at a node: what lies in its store, beside it, and nowhere."""
        reader, group = node.reader, node.group
        sealed = sealed_of(reader)
        newest = group.header.pulse
        pulses = {0, 1, newest - 1, newest, newest + 1, 2**32, UINT_MAX, *sealed}
        digests = {NOTHING: None, group.digest: None, group.header.previous: None, group.header.anchor: None}
        for each in sealed.values():
            header = each.header
            digests |= dict.fromkeys((header_digest(each.header_bytes), header.previous, header.body, header.anchor))
            digests |= dict.fromkeys(entry[0] for entry in each.entries)
        return cls(
            node.network,
            tuple(sorted(pulses)),
            tuple(digests),
            tuple(places),
            tuple(group.entries),
            tuple(receipts_of(reader)),
            tuple(overheard),
        )


def receipts_of(reader: Reader) -> list[Receipt]:
    """The receipts that a group's store has: sent and not resolved, settled."""
    return [read_sent(content)[0] for span in (keys.PENDING, keys.SETTLED) for _, content in reader.scan(*span)]


def sealed_of(reader: Reader) -> dict[int, SealedPulse]:
    """The headers that a group's store has, by their pulses, each with what it opens to."""
    pulses = dict.fromkeys(keys.sequence_of(key) for key, _ in reader.scan(*keys.PULSES))
    found = {pulse: reader.get(keys.sealed(pulse)) for pulse in pulses}
    return {pulse: SealedPulse.decode(content) for pulse, content in found.items() if content is not None}


def questions(kind: int, known: Known, key: Key) -> Iterator[bytes]:
    """Frames of a kind as `key` may send them: what was overheard, every argument there is, and forms of none."""
    yield from (content for content in known.overheard if frames.kind_of(content) == kind)
    for values in _QUESTIONS[kind](known, key):
        yield encode([kind, *values])
    yield encode([kind])
    yield encode([kind, b""])
    yield encode([kind, []])


Asking = Callable[[Known, Key], Iterable[list[Any]]]


def _operations(known: Known, key: Key) -> Iterator[list[Any]]:
    application = Application.make(known.network, key, "let me in")
    invite = Invite.make(known.network, key, key.public, Role.MEMBER, 2**40)
    yield [codec.decode(InvitedJoin.make(known.network, application, invite, key).encode())]
    yield [codec.decode(Willingness.make(known.network, key, "here:1", 1, 9).encode())]


def _statuses(known: Known, key: Key) -> Iterator[list[Any]]:
    for level, bits, prefix in known.places:
        for pulse in (0, known.pulses[-4], 2**40):
            if level == 1:
                yield [pulse, NOTHING, 5, 1, bits, prefix]


def _said(known: Known, key: Key) -> Iterator[list[Any]]:
    for digest in known.digests:
        yield [digest]
        yield [digest, key.public, key.sign(digest)]
        yield [[digest, key.public, bytes(64)]]


def _want_segments(known: Known, key: Key) -> Iterator[list[Any]]:
    yield [[]]
    yield from ([[digest]] for digest in known.digests)
    yield from ([list(known.digests[at : at + 32])] for at in range(0, len(known.digests), 32))


def _want_state(known: Known, key: Key) -> Iterator[list[Any]]:
    for digest in (b"", *known.digests):
        yield from ([digest, part] for part in (0, 1, 85, UINT_MAX))


def _held(known: Known, key: Key) -> Iterator[list[Any]]:
    for digest in known.digests:
        yield [digest, key.public, Held.sign(known.network, key, digest)]


def _address(known: Known, key: Key) -> Iterator[list[Any]]:
    own = Willingness.make(known.network, key, "here:1", 1, 9)
    yield [own.content, own.signature]


def _application(known: Known, key: Key) -> Iterator[list[Any]]:
    for memo in ("", "let me in"):
        made = Application.make(known.network, key, memo)
        yield [made.content, made.signature]


def _want_group(known: Known, key: Key) -> Iterator[list[Any]]:
    for _, bits, prefix in known.places:
        yield from ([level, bits, prefix] for level in (0, 1, 2, 3, 4, 5, 255))


def _ids(known: Known, key: Key) -> Iterator[list[Any]]:
    yield from ([account] for account in (*known.accounts, key.account, known.network, bytes(ID_BYTES)))
    for _, _, prefix in known.places:
        yield [prefix]
        yield [prefix[:-1] + b"\1"]


def _found(known: Known, key: Key) -> Iterator[list[Any]]:
    for account in known.accounts:
        for level, bits, prefix in known.places:
            yield [account, level, bits, prefix, [[key.public, "here:1"]]]


def _ask_receipts(known: Known, key: Key) -> Iterator[list[Any]]:
    ids = [receipt.id for receipt in known.receipts]
    beside = [item[:-1] + bytes([item[-1] ^ 1]) for item in ids]
    for item in (*ids, *beside, *(bytes([first]) + bytes(ID_BYTES - 1) for first in range(0, 256, 8))):
        yield [[item]]
    for shown, state, receipts in asks_of(known.overheard):
        yield [shown, state, []]
        for receipt in known.receipts:
            for _, pulse, steps in receipts:
                ways: list[Any] = [steps, []]
                yield from ([shown, state, [[receipt.value(), pulse, each]]] for each in ways)
                yield [shown, state, [*receipts, [receipt.value(), pulse, steps]]]
                ours = receipt._replace(payer=Receipt.take(receipts[0][0], "bad").payer, payee=receipt.payee)
                yield [shown, state, [[ours.value(), pulse, steps]]]


def asks_of(overheard: Iterable[bytes]) -> Iterator[list[Any]]:
    """What groups have asked each other about receipts: what is shown, S, and the receipts with their ways up."""
    for content in overheard:
        if frames.kind_of(content) == frames.ASK_RECEIPTS:
            yield frames.values_of(content)[1:]


_QUESTIONS: Final[dict[int, Asking]] = {
    frames.OPERATION: _operations,
    SIGN_OF_LIFE: lambda known, key: [[]],
    frames.STATUS: _statuses,
    frames.VOTE: _said,
    frames.PROPOSAL: _said,
    frames.SEAL_VOTE: _said,
    frames.SEGMENT: lambda known, key: [[b"\x80"], *([digest] for digest in known.digests)],
    frames.WANT_SEGMENTS: _want_segments,
    frames.SEALED: lambda known, key: [[digest, []] for digest in known.digests],
    frames.WANT_PULSE: lambda known, key: [[pulse] for pulse in known.pulses],
    frames.PULSE: lambda known, key: [[digest, []] for digest in known.digests],
    frames.WANT_STATE: _want_state,
    frames.STATE: lambda known, key: [[digest, 0, 1, b"\x85"] for digest in known.digests],
    frames.WANT_CHARTER: lambda known, key: [[]],
    frames.CHARTER: lambda known, key: [[b"", b""]],
    frames.APPLICATION: _application,
    frames.ADDRESS: _address,
    frames.TICK: lambda known, key: [[encode([0, 9, 0]), key.public, bytes(64)]],
    frames.HELD: _held,
    frames.REFUSED: lambda known, key: [[kind, "not_a_member"] for kind in sorted(frames.KINDS)],
    frames.NOT_HERE: lambda known, key: [[pulse] for pulse in known.pulses],
    frames.CHECKPOINT: lambda known, key: [[[pulse, NOTHING, b"\x80", bytes(64)]] for pulse in known.pulses],
    frames.BRANCH: lambda known, key: [[digest, [], [], [], [], []] for digest in known.digests],
    frames.WANT_BRANCH: lambda known, key: [[0], *([pulse] for pulse in known.pulses)],
    frames.CHILD: _said,
    frames.WANT_UPPER: _want_group,
    frames.UPPER: lambda known, key: [[digest, b"\x80", []] for digest in known.digests],
    frames.FIND: _ids,
    frames.FOUND: _found,
    frames.ASK_RECEIPTS: _ask_receipts,
}


class Secrets:
    """What nobody outside a group may be told: byte strings that stand in whatever holds its page, bodies or receipts.

    `books` are for its members alone; `people` are its members' keys, but those that branches name; `items` are ids of
    its receipts, which stand beside the way up of each other.
    """

    def __init__(self, node: Node) -> None:
        reader, group = node.reader, node.group
        found: list[bytes] = [account for account in group.entries if account != node.network]
        for account, entry in group.entries.items():
            record = entry.record
            amount = record.balance + record.frozen
            found.append(leaf(account, entry.pulse, amount, record_digest(record.encode()))[-ID_BYTES:])
        receipts = receipts_of(reader)
        for receipt in receipts:
            found += [receipt.ref, encode(receipt.value())]
        for pulse, sealed in sealed_of(reader).items():
            if pulse:  # the genesis goes with the charter
                found += [sealed.encode(), *(segment for _, segment in reader.scan(*keys.segments(pulse)))]
                found += [sealed.header_bytes] if sealed.header.bits else []
        self.books = tuple(dict.fromkeys(found))
        self.items = tuple(receipt.id for receipt in receipts)
        trunk = node.between.trunk
        branch = trunk.branch
        named = b"".join(encode(handover_value(each)) for each in trunk._handovers.values())
        if branch is not None:  # who seals above, and who has sealed the root header
            named += b"".join([floor.roster for floor in branch.floors] + [key for key, _ in branch.seal.signatures])
        known = [each.key for each in group.state.willing]
        self.people = tuple(key for key in known if key not in named and key not in node.books.sealers)

    def told(self, question: bytes, answer: bytes) -> list[bytes]:
        """What of it an answer tells that the question did not."""
        items = () if frames.kind_of(question) == frames.ASK_RECEIPTS else self.items
        return [each for each in (*self.books, *self.people, *items) if each in answer and each not in question]


def wrong(question: bytes, answer: bytes, asker: Key) -> str:
    """What is wrong with an answer by its kind alone; empty if nothing is."""
    kind, values = frames.kind_of(answer), frames.values_of(answer)
    if kind not in ANSWERS[frames.kind_of(question)]:
        return f"a frame {kind}"
    if kind == frames.REFUSED and values[1] != frames.kind_of(question):
        return "refused as another kind"
    if kind == frames.OPERATION:
        operation = from_value(values[1])
        if not isinstance(operation, Resolve | Reclaim):
            return f"a {type(operation).__name__}"
    if kind == frames.BRANCH:
        for floor in codec.items(values[4], 32, "bad_branch"):
            level, bits, prefix = codec.fields(floor, 10, "bad_branch")[:3]
            if level == 1 or not is_prefix(asker.account, codec.octets(prefix, ID_BYTES, "bad"), int(str(bits))):
                return "a page that is not on the asker's way"
    return ""


WORDS: dict[int, type[Proposal] | type[Vote] | type[SealVote]] = {
    frames.VOTE: Vote,
    frames.PROPOSAL: Proposal,
    frames.SEAL_VOTE: SealVote,
}


def level_of(content: bytes) -> int:
    """The level of a group whose agreement a frame belongs to, 0 for other frames."""
    message = WORDS.get(frames.kind_of(content))
    return 0 if message is None else message.take(frames.one(content, "bad_frame")).place.level
