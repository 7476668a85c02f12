"""The TCP edge of the wire: which connections there are (docs/protocol.md, section 9).

Decides whom there is a place for, and which of two connections of one key stays. What happens on one connection is in
tcp_link.py, when to dial in tcp_dial.py, what the bytes mean in `wire`. Logs nothing: strangers are counted only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from leither_lite.edge.tcp_dial import Dialler
from leither_lite.edge.tcp_link import Limits, Link, Seat, small_buffers
from leither_lite.identity import Key
from leither_lite.wire.session import Session

__all__ = ["Limits", "Seat", "Wire"]

BACKLOG: Final = 64
# Reasons that are counted by name; those of a seat that has more are counted together.
REASONS_MAX: Final = 64


class Wire:
    """All connections of a node to others of its organization.

    `network`: 20 bytes; `key`: the node's account key; `entropy(n)`: n secret random bytes. `counters` holds
    connections (accepted or dialled), handshakes (peers that became known), refused (for lack of a place), dropped (all
    that were ended by us), sent_bytes and received_bytes; `dropped` counts those ended by us by reason. `goes_first`
    says whether a known peer, by its key, goes before strangers where places are short. To be used in one running loop.
    """

    def __init__(self, network: bytes, key: Key, seat: Seat, board: Limits, entropy: Callable[[int], bytes]) -> None:
        self.limits = board
        self.seat = seat
        names = ("connections", "handshakes", "refused", "dropped", "sent_bytes", "received_bytes")
        self.counters = dict.fromkeys(names, 0)
        self.dropped: dict[str, int] = {}
        self.goes_first: Callable[[bytes], bool] = lambda peer: False
        self._network = network
        self._key = key
        self._entropy = entropy
        self._links: dict[Link, None] = {}
        self._pending: dict[Link, None] = {}
        self._waiting: dict[Link, None] = {}  # for whose peers something may wait
        self._waiting_bytes = 0  # at most so much does, for all of them
        self._hosts: dict[bytes, int] = {}
        self._peers: dict[bytes, Link] = {}
        self._listeners: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self._dialler = Dialler(
            lambda address: Link(self, address),
            self.is_connected,
            lambda: int.from_bytes(entropy(8), "big"),
            board.peers_out_max,
            board.handshake_s,
            self._end_dialled,
        )

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address and port that are listened on (port 0: one that is free). Raises OSError.

        May be called again for another address.
        """
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Link(self), host, port, backlog=BACKLOG, start_serving=False)
        for sock in listener.sockets:
            small_buffers(sock)
        address = listener.sockets[0].getsockname()
        await listener.start_serving()
        self._listeners.append(listener)
        return address[0], address[1]

    def want(self, addresses: Sequence[str], needed: int = 0) -> None:
        """Keep these ("HOST:PORT") connected, and dial no others. Connections that there are stay, unless one of the
        first `needed` finds no place.

        Raises LocalError("bad_address"), and changes nothing then.
        """
        self._dialler.want(addresses, needed)

    def send(self, peer: bytes, content: bytes) -> bool:
        """One frame of 1 to 65,536 bytes; False if the peer is not there. Raises LocalError("frame_size")."""
        link = self._peers.get(peer)
        return link is not None and link.send(content)

    def charge(self, peer: bytes, work: int) -> None:
        """Take `work` signature checks from a peer's budget: it waits if it is over it, or is dropped."""
        if (link := self._peers.get(peer)) is not None:
            link.charge(work)

    def drop(self, peer: bytes, reason: str) -> None:
        """End a peer's connection; `peer_left` follows from the loop."""
        if (link := self._peers.get(peer)) is not None:
            link.end(reason)

    def resume(self, peer: bytes) -> None:
        """The seat takes this peer's frames again."""
        if (link := self._peers.get(peer)) is not None:
            link.resume()

    def peers(self) -> list[tuple[bytes, str, bool]]:
        """Who is connected: public key, address, whether we dialled."""
        return [(key, link.address, link.initiator) for key, link in self._peers.items() if not link.closing]

    def is_connected(self, peer: bytes) -> bool:
        """True while frames can go to this peer."""
        link = self._peers.get(peer)
        return link is not None and not link.closing

    async def close(self) -> None:
        """Listen and dial no more, and leave no connection open; the seat is told of each that ends."""
        self._closing = True
        for listener in self._listeners:
            listener.close()
        await self._dialler.close()
        for link in list(self._links):
            link.end("closing")
        await self._empty.wait()

    def session(self, initiator: bool) -> Session:
        """A new session."""
        return Session(self._network, self._key, initiator, self._entropy)

    def admit(self, link: Link) -> bool:
        """Give a connection a place, or refuse it."""
        self.counters["connections"] += 1
        self._links[link] = None
        self._empty.clear()
        if not link.initiator:
            self._hosts[link.host] = self._hosts.get(link.host, 0) + 1
        if self._closing:
            link.end("closing")
        elif not link.initiator:
            if self._hosts[link.host] > self.limits.per_host_max:
                self.counters["refused"] += 1
                link.end("too_many_of_host")
                return False
            if len(self._pending) >= self.limits.pending_max:
                # The oldest has had the most time; those who are known already are never touched.
                self.counters["refused"] += 1
                oldest = next(iter(self._pending))
                del self._pending[oldest]
                oldest.end("too_many_pending")
            self._pending[link] = None
        return not link.closing

    def known(self, link: Link) -> bool:
        """A link's peer is known: let it in, or keep the connection that there is."""
        self.counters["handshakes"] += 1
        self._pending.pop(link, None)
        if link.initiator:
            self._dialler.known(link.dialled, link.peer)
        old = self._peers.get(link.peer)
        if old is not None and not old.closing and not self._goes_before(link, old):
            link.end("duplicate", flush=True)
            return False
        if not link.initiator:
            accepted = [other for other in self._peers.values() if not other.initiator and other is not old]
            if len(accepted) >= self.limits.peers_in_max and not self._make_room(link, accepted):
                return False
        if old is not None:
            old.end("duplicate")
            self._leave(old)
        self._peers[link.peer] = link
        link.joined = True
        self.seat.peer_joined(link.peer, link.initiator, link.address)
        return not link.closing

    def lost(self, link: Link) -> None:
        """A connection is gone: free its place, tell the seat, dial again what is wanted."""
        self._links.pop(link, None)
        self._pending.pop(link, None)
        self._waiting.pop(link, None)
        if not link.initiator:
            left = self._hosts.get(link.host, 0) - 1
            if left > 0:
                self._hosts[link.host] = left
            else:
                self._hosts.pop(link.host, None)
        was_there = link.joined
        self._leave(link)
        if link.initiator:
            self._dialler.lost(link.dialled, asyncio.get_running_loop().time() - link.made)
        elif was_there:
            self._dialler.turn()
        if not self._links:
            self._empty.set()

    def count(self, reason: str) -> None:
        """A link has been ended by us."""
        self.counters["dropped"] += 1
        if reason not in self.dropped and len(self.dropped) >= REASONS_MAX:
            reason = "other"
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def received(self, size: int) -> None:
        """So many bytes have come."""
        self.counters["received_bytes"] += size

    def sent(self, link: Link, size: int) -> None:
        """So many bytes go out. Where more waits for all peers together than there is room for, those go for whom most
        waits, strangers first."""
        self.counters["sent_bytes"] += size
        if not link.waiting_bytes:
            return
        self._waiting[link] = None
        self._waiting_bytes += size
        if self._waiting_bytes <= self.limits.send_bytes:
            return
        waiting = {each: each.waiting_bytes for each in self._waiting if each.waiting_bytes}
        total = sum(waiting.values())
        if total > self.limits.send_bytes:
            able = [each for each in waiting if not each.closing]
            order = sorted(able, key=lambda each: (self.goes_first(each.peer), -waiting[each]))
            for each in order:
                each.end("slow_peer")
                total -= waiting.pop(each)
                if total <= self.limits.send_bytes:
                    break
        self._waiting, self._waiting_bytes = dict.fromkeys(waiting), total

    def _end_dialled(self, address: str) -> None:
        """A place is needed for another."""
        for link in list(self._links):
            if link.initiator and link.dialled == address and not link.closing:
                link.end("needed_less", flush=True)

    def _make_room(self, link: Link, accepted: list[Link]) -> bool:
        """Where all places are taken: a member takes that of the stranger who has had it longest; False if there is
        none, or it is no member: then it is refused."""
        self.counters["refused"] += 1
        is_known = self.goes_first(link.peer)
        stranger = next((other for other in accepted if not self.goes_first(other.peer)), None) if is_known else None
        if stranger is None:
            link.end("too_many_peers", flush=True)
            return False
        stranger.end("too_many_peers")
        self._leave(stranger)
        return True

    def _goes_before(self, link: Link, old: Link) -> bool:
        """Of two connections of one key: the one that the smaller key has dialled, or else the newer.

        Both sides so come to the same choice without a word.
        """
        if link.initiator == old.initiator:
            return True
        return link.initiator == (self._key.public < link.peer)

    def _leave(self, link: Link) -> None:
        """Tell the seat once that a peer that had joined is gone."""
        if link.joined:
            link.joined = False
            del self._peers[link.peer]
            self.seat.peer_left(link.peer)
