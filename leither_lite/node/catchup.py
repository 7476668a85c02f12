"""Catching up: pulse by pulse, or by one jump to the newest state (what others need for it, `giving` gives).

Carries out docs/protocol.md, sections 4 and 9. Decides whom to ask for what, one thing at a time, and checks a state
that it is given against the chain of handovers. Who is far behind takes page and state as they are sealed, and executes
nothing of what it missed. Never believes a peer: only seals.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects, Note
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, Signatures, check_seal, header_digest, segment_digest
from leither_lite.identity import seal_message, verify
from leither_lite.ledger.children import Place
from leither_lite.ledger.handovers import handover_writes, jump_writes
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.limits import FRAME_BYTES_MAX, UINT_MAX
from leither_lite.node import frames
from leither_lite.node.becoming import Becoming
from leither_lite.node.books import Books
from leither_lite.node.giving import CHUNK_BYTES, PARTS_MAX, Giving
from leither_lite.node.group_states import entries_of, sealed_of, take_group_state
from leither_lite.node.peers import Peer, Peers
from leither_lite.node.states import check_state, parts_of
from leither_lite.organization import SignedCharter
from leither_lite.pulse.agreement import LIARS
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.proof import Handover, SealedRoot, Trust, verify_root
from leither_lite.tree.proof_cbor import handover_value, take_handover

JUMP_PULSES_MIN: Final = 64
"""Who is further behind than this does not execute what it has missed."""
ASK_MS: Final = 4_000
STATE_MS_MAX: Final = 120_000
"""How long the parts of a state may take, all together."""
FAILED_MS: Final = 1_000
"""Who has not answered, or has refused, is not asked again before."""
REST_MS: Final = 10_000
"""For how long who has not answered is asked last."""


class Catchup:
    """What this node asks others for."""

    def __init__(self, reader: Reader, charter: SignedCharter, books: Books, peers: Peers, becoming: Becoming) -> None:
        self._reader = reader
        self._charter = charter
        self._books = books
        self._peers = peers
        self._becoming = becoming
        self.giving = Giving(reader, books, peers, becoming)
        self.shown_node: Callable[[], tuple[Place, bytes] | None] = lambda: None
        self.on_pulse: Callable[[Effects, SealedPulse, list[bytes], bytes, int], None] = _nothing
        self._asked: tuple[bytes, int, int] | None = None  # whom, for which pulse (0: the state), until when
        self._parts: list[bytes] = []
        self._state_digest = b""
        self._state_until_ms = 0
        self._arriving: SealedPulse | None = None
        self._segments: dict[bytes, bytes] = {}
        self._wants_rest = False
        self._early = b""  # a state that is newer than what the branch shows
        self.jumped = False
        self.refusal = ""

    @property
    def deadline_ms(self) -> int | None:
        """When to ask somebody else."""
        return None if self._asked is None else self._asked[2]

    @property
    def behind(self) -> int:
        """By how many pulses this node is behind, as one more of the roster say than can lie; where so many are not
        connected, as members say that have given what they were asked for."""
        if self._books.seals_alone:
            return 0
        roster = self._books.group.roster_keys
        heard = [peer for peer in self._peers.connected.values() if peer.status is not None]
        members = [peer for peer in heard if self._peers.is_member(peer.key)]
        told = sorted((peer.told for peer in members if peer.key in roster), reverse=True)
        liars = LIARS.get(len(roster), 0)
        if len(told) > liars:
            newest = told[liars]
        else:
            newest = max((peer.told for peer in members if peer.failed_ms is None), default=0)
        return max(0, newest - self._becoming.pulse)

    # -- asking ----------------------------------------------------------------------------------------------------

    def poll(self, effects: Effects, now_ms: int, source: bytes = b"") -> None:
        """Ask, if something is missing and nobody has been asked."""
        tip = self._becoming.pulse
        if self._asked is not None:
            peer, pulse, until_ms = self._asked
            if (pulse and pulse <= tip) or peer not in self._peers.connected:
                self._asked = None
            elif now_ms < until_ms:
                return
            else:
                self._peers.connected[peer].failed_ms = now_ms
                self._asked = None
        if self.jumped:
            return
        shown = self.shown_node()
        if shown is not None:
            self._poll_group(effects, shown[0], now_ms, source)
            return
        told = [peer for peer in self._peers.connected.values() if peer.status is not None and peer.status.pulse > tip]
        ahead = [peer for peer in told if peer.failed_ms is None or now_ms - peer.failed_ms >= FAILED_MS]
        if ahead and self._peers.members():  # who has a member to ask asks no stranger: anybody can say he is ahead
            ahead = [peer for peer in ahead if self._peers.is_member(peer.key)]
        if not ahead:
            return
        chosen = min(ahead, key=lambda peer: self._order(peer, source, now_ms))
        newest = chosen.status.pulse if chosen.status is not None else tip
        # Only a state is taken from who is no member as far as is known here.
        is_far = newest - tip > JUMP_PULSES_MIN and self._books.group.is_root
        if is_far or chosen.needs_state or not self._peers.is_member(chosen.key):
            self._ask_state(effects, chosen, b"", now_ms)
        else:
            self._ask_pulse(effects, chosen, tip + 1, now_ms)

    def _poll_group(self, effects: Effects, place: Place, now_ms: int, source: bytes) -> None:
        """Ask, where the branch shows another header of this node's group than the last here."""
        early, self._early = self._early, b""
        if early:
            self._wants_rest = False
            with suppress(RemoteError):
                self._jump(effects, early)
            if self.jumped:
                return
        group = self._books.group
        pulse = self._becoming.pulse + 1
        here = (group.prefix, group.bits) == place
        rest = [] if here else self._rest(place, now_ms)
        near = rest or self._able(lambda peer: self._is_at(peer, place, here), now_ms)
        missed = not here and not rest and self._able(lambda peer: self._has_missed(peer, place), now_ms)
        if missed and (place[1] < group.bits or not near):
            self._ask_pulse(effects, min(missed, key=lambda peer: self._order(peer, source, now_ms)), pulse, now_ms)
        elif near:
            chosen = min(near, key=lambda peer: self._order(peer, source, now_ms))
            if here and not chosen.needs_state and chosen.told - pulse < JUMP_PULSES_MIN:
                self._ask_pulse(effects, chosen, pulse, now_ms)
            else:
                self._ask_state(effects, chosen, group.digest if rest else b"", now_ms)
        elif not any(self._is_at(peer, place, here) for peer in self._peers.connected.values()):
            self._becoming.asks_for_state()

    def _rest(self, place: Place, now_ms: int) -> list[Peer]:
        """Who may be asked for what the buddy was: those of the merged group, if any of them may."""
        places = self._becoming.rest_at(place)
        able = self._able(lambda peer: (peer.prefix, peer.bits) in places, now_ms)
        return [peer for peer in able if (peer.prefix, peer.bits) == place] or able

    def _able(self, is_meant: Callable[[Peer], bool], now_ms: int) -> list[Peer]:
        """The peers that are meant, and have not failed just now."""
        able = [peer for peer in self._peers.connected.values() if is_meant(peer)]
        return [peer for peer in able if peer.failed_ms is None or now_ms - peer.failed_ms >= FAILED_MS]

    def _is_at(self, peer: Peer, place: Place, here: bool) -> bool:
        at_place = (peer.prefix, peer.bits) == place
        return at_place and (not here or peer.told > self._becoming.pulse)

    def _has_missed(self, peer: Peer, place: Place) -> bool:
        """True for a peer that may have the last header of this node's group, which is not here: of another part of it,
        or a member that was merged with it."""
        group = self._books.group
        if place[1] > group.bits:
            return peer.bits > group.bits and group.holds(peer.prefix)
        at_place = (peer.prefix, peer.bits) in (place, (group.prefix, group.bits))
        is_able = at_place and not peer.needs_state and peer.pulse > group.header.pulse
        return is_able and not group.state.offer.kind and self._peers.is_member(peer.key)

    def _order(self, peer: Peer, source: bytes, now_ms: int) -> tuple[bool, bool, bool, bytes]:
        failed = peer.failed_ms is not None and now_ms - peer.failed_ms < REST_MS
        return failed, not self._peers.is_member(peer.key), peer.key != source, peer.key

    def _ask_pulse(self, effects: Effects, peer: Peer, pulse: int, now_ms: int) -> None:
        self._ask(effects, peer, pulse, encode([frames.WANT_PULSE, pulse]), now_ms)

    def _ask_state(self, effects: Effects, peer: Peer, digest: bytes, now_ms: int) -> None:
        self._parts, self._state_digest, self._state_until_ms = [], b"", now_ms + STATE_MS_MAX
        self._wants_rest = bool(digest)  # of what this group and its buddy have become
        if not digest:
            self._becoming.asks_for_state()
        self._ask(effects, peer, 0, encode([frames.WANT_STATE, digest, 0]), now_ms)

    def _ask(self, effects: Effects, peer: Peer, pulse: int, frame: bytes, now_ms: int) -> None:
        self._asked = (peer.key, pulse, now_ms + ASK_MS)
        self._arriving, self._segments = None, {}
        effects.sends.append((peer.key, frame))

    def _is_asked(self, source: bytes) -> bool:
        return self._asked is not None and self._asked[0] == source

    def not_here(self, effects: Effects, source: bytes, now_ms: int) -> None:
        """Who was asked for a pulse does not have it any more: the state must do."""
        if not self._is_asked(source):
            return
        peer = self._peers.connected[source]
        if self._asked is not None and self._asked[1]:
            peer.needs_state = True
        else:
            peer.failed_ms = now_ms
        self._asked = None
        self.poll(effects, now_ms)

    def refused(self, effects: Effects, source: bytes, now_ms: int) -> None:
        """Who was asked says that this is not for us: somebody else may know better."""
        if self._is_asked(source):
            self._peers.connected[source].failed_ms = now_ms
            self._asked = None
            self.poll(effects, now_ms)

    # -- pulses ----------------------------------------------------------------------------------------------------

    def take_pulse(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[11, sealed pulse, [segment, …]]: its segments follow where none are in it. Raises RemoteError."""
        if not self._is_asked(source):
            return
        _, content, segments = codec.fields(values, 3, "bad_pulse")
        sealed = SealedPulse.decode(codec.octets_upto(content, SEALED_BYTES_MAX, "bad_pulse"))
        self._arriving = sealed
        for segment in codec.items(segments, len(sealed.entries), "bad_pulse"):
            self._keep(codec.octets_upto(segment, FRAME_BYTES_MAX, "bad_pulse"))
        self._apply(effects, source, now_ms)

    def take_segment(self, effects: Effects, segment: bytes, source: bytes, now_ms: int) -> bool:
        """A segment of the pulse that is arriving; False if it is none."""
        if self._arriving is None or not self._is_asked(source) or not self._keep(segment):
            return False
        self._apply(effects, source, now_ms)
        return True

    def _keep(self, segment: bytes) -> bool:
        digest = segment_digest(segment)
        wanted = self._arriving is not None and any(entry[0] == digest for entry in self._arriving.entries)
        if wanted:
            self._segments[digest] = segment
        return wanted

    def _apply(self, effects: Effects, source: bytes, now_ms: int) -> None:
        sealed = self._arriving
        if sealed is None or any(entry[0] not in self._segments for entry in sealed.entries):
            return
        segments = [self._segments[entry[0]] for entry in sealed.entries]
        self._asked, self._arriving, self._segments = None, None, {}
        group = self._books.group
        header = sealed.header
        try:
            if header.previous != group.digest:
                self._peers.connected[source].needs_state = True  # it has gone on without what comes between
                raise RemoteError("pulse_elsewhere", f"pulse {header.pulse} does not follow the last header here")
            try:
                check_seal(sealed.header_bytes, sealed.signatures, self._books.sealers)
            except RemoteError:
                self._peers.connected[source].needs_state = not group.is_root  # its parent may have named who seals
                raise
            self.on_pulse(effects, sealed, segments, source, now_ms)
        except RemoteError:
            self._peers.connected[source].failed_ms = now_ms
            raise
        self.poll(effects, now_ms)

    # -- the state -------------------------------------------------------------------------------------------------

    def take_state(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[13, digest, part, parts, chunk]: ask for the next part, or jump. Raises RemoteError."""
        if not self._is_asked(source) or (self._asked is not None and self._asked[1]):
            return
        _, digest, part, parts, chunk = codec.fields(values, 5, "bad_state_part")
        digest = codec.octets(digest, 32, "bad_state_part")
        parts = codec.uint(parts, PARTS_MAX, "bad_state_part")
        part = codec.uint(part, UINT_MAX, "bad_state_part")
        if digest != self._state_digest:
            self._parts, self._state_digest = [], digest
        if part != len(self._parts) or part >= parts:
            raise RemoteError("bad_state_part", "another part was asked for")
        self._parts.append(codec.octets_upto(chunk, CHUNK_BYTES, "bad_state_part"))
        if len(self._parts) < parts:
            self._asked = (source, 0, min(now_ms + ASK_MS, self._state_until_ms))
            effects.sends.append((source, encode([frames.WANT_STATE, digest, len(self._parts)])))
            return
        content = b"".join(self._parts)
        self._parts, self._asked = [], None
        try:
            self._jump(effects, content)
        except RemoteError as error:
            self.refusal = error.reason
            raise
        finally:
            if not self.jumped:
                self._peers.connected[source].failed_ms = now_ms

    def _jump(self, effects: Effects, content: bytes) -> None:
        """Take a state as it was sealed: its header must be, and everything in it be what that commits to."""
        if self._books.header is not self._books.group.header:
            raise RemoteError("bad_state", "what was sealed in this turn is not on the disk yet")
        shown = self.shown_node()
        if shown is not None:
            group = self._books.group
            joined = self._becoming.join(content, shown[0]) if self._wants_rest else None
            if joined is not None:
                effects.writes += joined
                effects.renew = self.jumped = True
                return
            if self._wants_rest and self._becoming.rest_at(shown[0]):
                return  # others may have what is wanted
            if sealed_of(content).header.pulse > int.from_bytes(shown[1][:8], "big"):
                self._early = content  # the branch will show it
                return
            state = take_group_state(self._reader, group.network, content, *shown)
            if not self._books.is_under_root:
                effects.writes += self._books.take_back(entries_of(content))
            effects.writes += state
            effects.renew = self.jumped = True
            pulse = max(group.header.pulse, int.from_bytes(shown[1][:8], "big"))
            effects.notes.append(Note("caught_up", {"pulse": pulse, "pulses": pulse - group.header.pulse}))
            return
        if not self._books.group.is_root:
            return  # what was missing has come while this was on its way
        parts = parts_of(content)
        sealed = SealedPulse.decode(parts.sealed)
        header, group = sealed.header, self._books.group
        if header.pulse <= group.header.pulse:
            return
        checkpoint = Checkpoint.decode(parts.checkpoint) if parts.checkpoint else None
        chain = [take_handover(codec.decode(each)) for each in parts.handovers]
        between, checkpoint = self._check_chain(sealed, chain, checkpoint)
        writes = jump_writes(sealed, *check_state(group, sealed, parts))
        for each in between:
            writes.append((keys.handover(Header.decode(each.header).pulse), encode(handover_value(each))))
        before = between[-1].roster if between else group.roster if checkpoint is None else checkpoint.roster
        if sealed.roster != before and (checkpoint is None or checkpoint.pulse != header.pulse):
            writes += handover_writes(sealed)
        if checkpoint is not None:
            writes += [(key, checkpoint.encode()) for key in (keys.CHECKPOINT, keys.checkpoint(checkpoint.pulse))]
        effects.writes += writes
        effects.renew = True
        self.jumped = True
        effects.notes.append(Note("caught_up", {"pulse": header.pulse, "pulses": header.pulse - group.header.pulse}))

    def _check_chain(
        self, sealed: SealedPulse, chain: list[Handover], checkpoint: Checkpoint | None
    ) -> tuple[list[Handover], Checkpoint | None]:
        """From the last header here, or a younger checkpoint, by handovers to the state's: those that were needed for
        it, and so are checked. Raises RemoteError."""
        charter = self._charter.charter
        group = self._books.group
        start, roster = group.header.pulse, group.roster_keys
        end = sealed.header.pulse
        is_usable = checkpoint is not None and start < checkpoint.pulse <= end
        unbonding = charter.parameter("unbonding_ticks")
        if not is_usable and start and sealed.header.tick > group.header.tick + unbonding:
            raise RemoteError("roster_too_old", "only a checkpoint of the organization leads on from a roster so old")
        trust = Trust(charter.organization_key, roster)
        vouching = checkpoint if is_usable else None
        first = start if vouching is None else vouching.pulse
        between = [each for each in chain if first < Header.decode(each.header).pulse < end]
        signatures: Signatures = sealed.signatures
        if vouching is not None and vouching.digest == header_digest(sealed.header_bytes):
            # A checkpoint stands for its own header without them; kept, they must be good all the same.
            message = seal_message(vouching.digest)
            if not signatures or not all(verify(key, signature, message) for key, signature in signatures):
                raise RemoteError("bad_signature", "of the seal under the checkpoint")
            signatures = ()
        verify_root(SealedRoot(sealed.header_bytes, signatures, tuple(between), vouching), trust)
        return between, vouching


def _nothing(effects: Effects, sealed: SealedPulse, segments: list[bytes], source: bytes, now_ms: int) -> None:
    """Nobody is told yet."""
