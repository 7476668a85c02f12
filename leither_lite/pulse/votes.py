"""What members of a committee sign while they agree: votes, proposals, seals; and evidence against who signs two.

Decides how these look on the wire and in the log, and whether a signature holds (docs/protocol.md, sections 2 and 4).
Never decides what to sign, and knows nothing of what a header's body holds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import (
    HEADER_BYTES_MAX,
    Header,
    Signatures,
    body_digest,
    header_digest,
    signatures_value,
    take_signatures,
)
from leither_lite.identity import Key, seal_message, signed_digest, verify
from leither_lite.limits import (
    BODY_SEGMENTS_MAX,
    DIGEST_BYTES,
    ID_BITS,
    ID_BYTES,
    KEY_BYTES,
    NODE_BYTES,
    SIGNATURE_BYTES,
    UINT_MAX,
)

PREVOTE: Final = 1
PRECOMMIT: Final = 2
STEP_NAMES: Final = {PREVOTE: "prevote", PRECOMMIT: "precommit"}
ROUND_MAX: Final = 2**32 - 1
NIL: Final = b""
"""The digest of a vote for no proposal."""

_CONTENT_BYTES_MAX: Final = 256

Entries = tuple[tuple[bytes, bytes, bytes], ...]
"""A body's list: for each segment its digest (32 bytes), and inner node (36) and meta (32) after it."""


class Place(NamedTuple):
    """Which agreement a signature belongs to: the group, its term, and the digest of the header to be followed."""

    level: int
    bits: int
    prefix: bytes
    term: int
    previous: bytes

    @classmethod
    def of(cls, header: Header) -> Place:
        """Where a header would stand if it were sealed."""
        return cls(header.level, header.bits, header.prefix, header.term, header.previous)


def _take_place(values: list[Value], reason: str) -> Place:
    level, bits, prefix, term, previous = values
    return Place(
        codec.uint(level, 255, reason),
        codec.uint(bits, ID_BITS, reason),
        codec.octets(prefix, ID_BYTES, reason),
        codec.uint(term, UINT_MAX, reason),
        codec.octets(previous, DIGEST_BYTES, reason),
    )


def _take_digest(value: Value, reason: str) -> bytes:
    return NIL if value == NIL else codec.octets(value, DIGEST_BYTES, reason)


class Vote(NamedTuple):
    """A prevote or precommit: [level, bits, prefix, term, previous, round, step, digest or empty], tag "vote"."""

    place: Place
    round: int
    step: int
    digest: bytes
    key: bytes
    signature: bytes

    @classmethod
    def make(cls, network: bytes, key: Key, place: Place, round_: int, step: int, digest: bytes) -> Vote:
        """Signs a vote. Whoever sends it has written it down first."""
        content = encode([*place, round_, step, digest])
        return cls(place, round_, step, digest, key.public, key.sign(signed_digest("vote", network, content)))

    def content(self) -> bytes:
        """What is signed."""
        return encode([*self.place, self.round, self.step, self.digest])

    def is_signed(self, network: bytes) -> bool:
        """True if the signature holds."""
        return verify(self.key, self.signature, signed_digest("vote", network, self.content()))

    def value(self) -> Value:
        """[content, key, signature]"""
        return [self.content(), self.key, self.signature]

    @classmethod
    def take(cls, value: Value) -> Vote:
        """The inverse of `value`, its signature unchecked. Raises RemoteError("bad_vote"), or the codec's."""
        reason = "bad_vote"
        content, key, signature = codec.fields(value, 3, reason)
        values = codec.fields(codec.decode(codec.octets_upto(content, _CONTENT_BYTES_MAX, reason)), 8, reason)
        round_, step, digest = values[5:]
        vote = cls(
            _take_place(values[:5], reason),
            codec.uint(round_, ROUND_MAX, reason),
            codec.uint(step, PRECOMMIT, reason),
            _take_digest(digest, reason),
            codec.octets(key, KEY_BYTES, reason),
            codec.octets(signature, SIGNATURE_BYTES, reason),
        )
        if vote.step not in STEP_NAMES:
            raise RemoteError(reason, "neither a prevote nor a precommit")
        return vote


class Proposal(NamedTuple):
    """A header that its proposer wants sealed, with its body's list.

    Signed, tag "propose": [level, bits, prefix, term, previous, round, valid round + 1 or 0, header digest]. One that
    was proposed before carries `prevotes`: signatures of a quorum of prevotes for it in its valid round.
    """

    place: Place
    round: int
    valid_round: int
    digest: bytes
    header: bytes
    entries: Entries
    prevotes: Signatures
    key: bytes
    signature: bytes

    @classmethod
    def make(
        cls,
        network: bytes,
        key: Key,
        place: Place,
        round_: int,
        valid_round: int,
        header: bytes,
        entries: Entries,
        prevotes: Signatures,
    ) -> Proposal:
        """Signs a proposal; `valid_round` is -1 for one that is proposed for the first time."""
        digest = header_digest(header)
        message = signed_digest("propose", network, encode([*place, round_, valid_round + 1, digest]))
        return cls(place, round_, valid_round, digest, header, entries, prevotes, key.public, key.sign(message))

    def content(self) -> bytes:
        """What is signed."""
        return encode([*self.place, self.round, self.valid_round + 1, self.digest])

    def is_signed(self, network: bytes) -> bool:
        """True if the proposer's signature holds; the prevotes' are not looked at."""
        return verify(self.key, self.signature, signed_digest("propose", network, self.content()))

    @property
    def is_whole(self) -> bool:
        """True if its list is that of the header's body: nobody has signed the list itself."""
        return body_digest(self.entries) == Header.decode(self.header).body

    def value(self) -> Value:
        """[header, [[segment digest, inner, meta], ...], round, valid round + 1 or 0, prevotes, key, signature]"""
        return [
            self.header,
            [list(entry) for entry in self.entries],
            self.round,
            self.valid_round + 1,
            signatures_value(self.prevotes),
            self.key,
            self.signature,
        ]

    @classmethod
    def take(cls, value: Value) -> Proposal:
        """The inverse of `value`, no signature checked. Raises RemoteError("bad_proposal"), or those of headers."""
        reason = "bad_proposal"
        header, entries, round_, valid, prevotes, key, signature = codec.fields(value, 7, reason)
        header_bytes = codec.octets_upto(header, HEADER_BYTES_MAX, reason)
        round_ = codec.uint(round_, ROUND_MAX, reason)
        valid_round = codec.uint(valid, ROUND_MAX, reason) - 1
        if valid_round >= round_:
            raise RemoteError(reason, "the valid round is before the round")
        return cls(
            Place.of(Header.decode(header_bytes)),
            round_,
            valid_round,
            header_digest(header_bytes),
            header_bytes,
            take_entries(entries, reason),
            take_signatures(prevotes, reason),
            codec.octets(key, KEY_BYTES, reason),
            codec.octets(signature, SIGNATURE_BYTES, reason),
        )


def take_entries(value: Value, reason: str) -> Entries:
    """A body's list in a CBOR value. Raises RemoteError(reason)."""
    taken = []
    for entry in codec.items(value, BODY_SEGMENTS_MAX, reason):
        digest, inner, meta = codec.fields(entry, 3, reason)
        taken.append(
            (
                codec.octets(digest, DIGEST_BYTES, reason),
                codec.octets(inner, NODE_BYTES, reason),
                codec.octets(meta, DIGEST_BYTES, reason),
            )
        )
    return tuple(taken)


class SealVote(NamedTuple):
    """A member's signature under a header, with the quorum of precommits of one round that allowed it."""

    header: bytes
    digest: bytes
    place: Place
    round: int
    precommits: Signatures
    key: bytes
    signature: bytes

    @classmethod
    def make(cls, key: Key, header: bytes, round_: int, precommits: Signatures) -> SealVote:
        """Signs a seal. Whoever sends it has written it down first."""
        digest = header_digest(header)
        place = Place.of(Header.decode(header))
        return cls(header, digest, place, round_, precommits, key.public, key.sign(seal_message(digest)))

    def is_signed(self) -> bool:
        """True if the seal's signature holds; the precommits' are not looked at."""
        return verify(self.key, self.signature, seal_message(self.digest))

    def value(self) -> Value:
        """[header, round, precommits, key, signature]"""
        return [self.header, self.round, signatures_value(self.precommits), self.key, self.signature]

    @classmethod
    def take(cls, value: Value) -> SealVote:
        """The inverse of `value`, no signature checked. Raises RemoteError("bad_seal_vote"), or those of headers."""
        reason = "bad_seal_vote"
        header, round_, precommits, key, signature = codec.fields(value, 5, reason)
        header_bytes = codec.octets_upto(header, HEADER_BYTES_MAX, reason)
        return cls(
            header_bytes,
            header_digest(header_bytes),
            Place.of(Header.decode(header_bytes)),
            codec.uint(round_, ROUND_MAX, reason),
            take_signatures(precommits, reason),
            codec.octets(key, KEY_BYTES, reason),
            codec.octets(signature, SIGNATURE_BYTES, reason),
        )


class Evidence(NamedTuple):
    """One key's two signatures for one thing: `kind` is "prevote", "precommit", "proposal" or "seal".

    `first` and `second` are the CBOR of the two as they came: of a `Vote`, a `Proposal` (without body and prevotes), or
    a `SealVote` (without its precommits).
    """

    kind: str
    key: bytes
    term: int
    previous: bytes
    round: int
    first: bytes
    second: bytes

    @classmethod
    def of_votes(cls, first: Vote, second: Vote) -> Evidence:
        """Two votes of one round and step for different digests."""
        kind = STEP_NAMES[first.step]
        return cls._of(kind, first.key, first.place, first.round, first.value(), second.value())

    @classmethod
    def of_proposals(cls, first: Proposal, second: Proposal) -> Evidence:
        """Two proposals of one round."""
        values = [each._replace(entries=(), prevotes=()).value() for each in (first, second)]
        return cls._of("proposal", first.key, first.place, first.round, *values)

    @classmethod
    def of_seals(cls, first: SealVote, second: SealVote) -> Evidence:
        """Two seals for one predecessor."""
        values = [each._replace(precommits=()).value() for each in (first, second)]
        return cls._of("seal", first.key, first.place, 0, *values)

    @classmethod
    def _of(cls, kind: str, key: bytes, place: Place, round_: int, first: Value, second: Value) -> Evidence:
        return cls(kind, key, place.term, place.previous, round_, encode(first), encode(second))

    def encode(self) -> bytes:
        """CBOR of all fields."""
        return encode(list(self))

    @classmethod
    def decode(cls, content: bytes) -> Evidence:
        """The inverse of `encode`. Raises RemoteError("bad_evidence"), or a reason of the codec."""
        reason = "bad_evidence"
        kind, key, term, previous, round_, first, second = codec.fields(codec.decode(content), 7, reason)
        return cls(
            codec.text(kind, 16, reason),
            codec.octets(key, KEY_BYTES, reason),
            codec.uint(term, UINT_MAX, reason),
            codec.octets(previous, DIGEST_BYTES, reason),
            codec.uint(round_, ROUND_MAX, reason),
            codec.octets_upto(first, 4096, reason),
            codec.octets_upto(second, 4096, reason),
        )

    def holds(self, network: bytes) -> bool:
        """True if both are signed by the key, for one place, round and step, and differ in what they say."""
        try:
            if self.kind in STEP_NAMES.values():
                votes = [Vote.take(codec.decode(each)) for each in (self.first, self.second)]
                signed = all(vote.is_signed(network) for vote in votes)
                keyed = [(vote.key, vote.place, vote.round, vote.step) for vote in votes]
                differs = votes[0].digest != votes[1].digest
                return signed and differs and keyed[0] == keyed[1] and votes[0].key == self.key
            if self.kind == "proposal":
                proposals = [Proposal.take(codec.decode(each)) for each in (self.first, self.second)]
                signed = all(proposal.is_signed(network) for proposal in proposals)
                told = [(proposal.key, proposal.place, proposal.round) for proposal in proposals]
                differs = proposals[0].content() != proposals[1].content()
                return signed and differs and told[0] == told[1] and proposals[0].key == self.key
            if self.kind != "seal":
                return False
            seals = [SealVote.take(codec.decode(each)) for each in (self.first, self.second)]
            signed = all(seal.is_signed() for seal in seals)
            places = [(seal.key, seal.place) for seal in seals]
            differs = seals[0].digest != seals[1].digest
            return signed and differs and places[0] == places[1] and seals[0].key == self.key
        except RemoteError:
            return False

    def to_json(self) -> dict[str, str | int]:
        """What the API shows."""
        return {
            "kind": self.kind,
            "key": self.key.hex(),
            "term": self.term,
            "previous": self.previous.hex(),
            "round": self.round,
            "first": self.first.hex(),
            "second": self.second.hex(),
        }
