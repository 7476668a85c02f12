"""One TCP connection to another node: its session, its pace, its bounds (docs/protocol.md, section 9).

Decides when this one connection has been silent, slow or greedy for too long. Never decides which connections there may
be (tcp.py), never looks into a frame but to find the wire's own keep-alive, and logs nothing.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Final, Protocol, cast

from leither_lite import codec
from leither_lite.edge.client import format_address
from leither_lite.errors import LocalError, RemoteError
from leither_lite.wire.budget import Budget
from leither_lite.wire.session import Session

# A connection's share of the kernel's memory, each way: Linux doubles it.
SOCKET_BUFFER_BYTES: Final = 64 * 1024

# What a node says when it has nothing to say. The seat never sees it.
KEEP_ALIVE: Final = codec.encode([2])


@dataclass(frozen=True, slots=True)
class Limits:
    """What this board can afford for its peers: counts, bytes, seconds.

    `pending_max`: accepted connections whose handshake is under way; `per_host_max`: accepted ones, pending or not, of
    one IPv4 address or one IPv6 /64; `send_queue_bytes`: what may wait to be taken by one peer, `send_bytes` by all;
    `handshake_s`: the time to become known; `idle_s`: a peer from which nothing comes for so long is dropped; `ping_s`:
    a keep-alive is sent after so long a silence of ours. Each peer's budget is `messages_s`, `bytes_s`, `work_s`
    (signature checks), with `burst_s` seconds' worth at once; `burst_s * bytes_s` should be 256 KiB or more, which one
    read may bring.
    """

    peers_in_max: int = 32
    peers_out_max: int = 16
    pending_max: int = 32
    per_host_max: int = 4
    send_queue_bytes: int = 256 * 1024
    send_bytes: int = 16 * 1024 * 1024
    handshake_s: float = 10
    idle_s: float = 60
    ping_s: float = 20
    messages_s: int = 200
    bytes_s: int = 256 * 1024
    work_s: int = 200
    burst_s: int = 10


class Seat(Protocol):
    """What the wire serves. `peer` is an account public key, 32 bytes. No method is called from within one of Wire."""

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """A peer is known. `address`: "HOST:PORT" that we dialled (`initiator`), or from where it was accepted."""

    def peer_left(self, peer: bytes) -> None:
        """It is gone; comes exactly once after each `peer_joined`, and before another one of the same peer."""

    def frame(self, peer: bytes, content: bytes) -> bool:
        """A frame has come, 1 to 65,536 bytes. False: not taken; it is offered again after `Wire.resume(peer)`."""


class House(Protocol):
    """What a link asks of those that know all links."""

    limits: Limits
    seat: Seat

    def session(self, initiator: bool) -> Session:
        """A new session."""

    def admit(self, link: Link) -> bool:
        """A connection is there; False if it has been refused."""

    def known(self, link: Link) -> bool:
        """A link's peer is known; False if the link has been ended. Tells the seat."""

    def lost(self, link: Link) -> None:
        """A connection is gone."""

    def count(self, reason: str) -> None:
        """A link has been ended by us."""

    def received(self, size: int) -> None:
        """So many bytes have come."""

    def sent(self, link: Link, size: int) -> None:
        """So many bytes have been given to the transport: some may still wait there."""


class Link(asyncio.Protocol):
    """One connection. `dialled`: the address "HOST:PORT" that we have dialled, empty for an accepted one."""

    __slots__ = (
        "_aborted",
        "_budget",
        "_counted",
        "_full",
        "_heard",
        "_held",
        "_house",
        "_loop",
        "_reading",
        "_rest",
        "_sent",
        "_session",
        "_timer",
        "_transport",
        "address",
        "closing",
        "dialled",
        "host",
        "joined",
        "made",
        "peer",
    )

    def __init__(self, house: House, dialled: str = "") -> None:
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._budget: Budget | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._held: list[bytes] = []
        self._counted = 0
        self._full = self._aborted = False
        self._reading = True
        self._heard = self._sent = self.made = self._loop.time()
        self.dialled = dialled
        self.address = dialled
        self.host = b""
        self.peer = b""
        self.joined = False
        self.closing = False

    @property
    def initiator(self) -> bool:
        """True if we have dialled."""
        return self.dialled != ""

    @property
    def waiting_bytes(self) -> int:
        """What the peer has not taken yet, as far as this process holds it."""
        return 0 if self._transport is None or self._aborted else self._transport.get_write_buffer_size()

    @property
    def is_resting(self) -> bool:
        """True while the peer is not read because it is over its budget."""
        return self._rest is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, if there is a place."""
        self._transport = transport = cast(asyncio.Transport, transport)
        small_buffers(transport.get_extra_info("socket"))
        if not self.initiator:
            name = transport.get_extra_info("peername") or ("", 0)
            self.address = format_address(name[0], name[1])
            self.host = host_of(name[0])
        if not self._house.admit(self):
            return
        self._session = self._house.session(self.initiator)
        self._timer = self._loop.call_later(self._house.limits.handshake_s, self._on_timer)
        self._write(self._session.start())

    def data_received(self, data: bytes) -> None:
        """Take in what has come; end the connection at the first fault."""
        session = self._session
        if session is None or self.closing:
            return
        try:
            contents = session.receive(data)
        except RemoteError as error:
            self.end(error.reason)
            return
        self._heard = self._loop.time()
        self._house.received(len(data))
        self._write(session.outgoing())
        if not self.peer:
            if session.peer is None or self.closing:
                return
            self.peer = session.peer
            limits = self._house.limits
            rates = (limits.messages_s, limits.bytes_s, limits.work_s, limits.burst_s)
            self._budget = Budget(*rates, self._now_ms())
            self._counted = session.messages
            if not self._house.known(self):
                return
            self._on_timer()
        messages = max(session.messages - self._counted, len(contents))
        self._counted = session.messages
        self._charge(messages=messages, content_bytes=len(data))
        if self.closing:
            return
        self._held += [content for content in contents if content != KEEP_ALIVE]
        self.offer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place up, once."""
        if self._transport is None:
            return
        self.closing = True
        self._stop_timers()
        self._held = []
        self._transport = self._session = None
        self._house.lost(self)

    def send(self, content: bytes) -> bool:
        """One frame; False if the connection is not there any more. Raises LocalError("frame_size")."""
        if self._session is None or self.closing:
            return False
        try:
            sealed = self._session.send(content)
        except LocalError as error:
            if error.code != "noise_exhausted":
                raise
            self.end(error.code)
            return False
        self._write(sealed)
        return not self.closing

    def charge(self, work: int) -> None:
        """Take signature checks from the peer's budget."""
        if not self.closing:
            self._charge(work=work)

    def resume(self) -> None:
        """The seat takes frames again."""
        if self._full and not self.closing:
            self._full = False
            self._loop.call_soon(self.offer)

    def offer(self) -> None:
        """Give the seat what it has not taken yet, and read on only once it has taken all."""
        taken = 0
        while taken < len(self._held) and not self._full and not self.closing:
            if self._house.seat.frame(self.peer, self._held[taken]):
                taken += 1
            else:
                self._full = True
        del self._held[:taken]
        self._pace()

    def end(self, reason: str, *, flush: bool = False) -> None:
        """End the connection: at once, or with `flush` once the other side has taken what was written."""
        if self.closing:
            return
        self.closing = True
        self._house.count(reason)
        self._stop_timers()
        self._held = []
        if self._transport is None:
            return
        if flush:
            self._timer = self._loop.call_later(self._house.limits.handshake_s, self._transport.abort)
            self._transport.close()
        else:
            self._aborted = True
            self._transport.abort()

    def _write(self, sealed: bytes) -> None:
        if not sealed or self._transport is None or self._transport.is_closing():
            return
        self._sent = self._loop.time()
        self._transport.write(sealed)
        if self.waiting_bytes > self._house.limits.send_queue_bytes:
            self.end("slow_peer")
        self._house.sent(self, len(sealed))

    def _charge(self, messages: int = 0, content_bytes: int = 0, work: int = 0) -> None:
        if self._budget is None:
            return
        now_ms = self._now_ms()
        wait_ms = self._budget.charge(now_ms, messages, content_bytes, work)
        if self._budget.is_over(now_ms):
            self.end("over_budget")
        elif wait_ms and self._rest is None:
            self._rest = self._loop.call_later(wait_ms / 1000, self._on_rested)
            self._pace()

    def _on_rested(self) -> None:
        """The debt should be paid; where more has come upon it since, wait for that too."""
        self._rest = None
        self._charge()
        self._pace()

    def _pace(self) -> None:
        """Read or do not read, as the seat and the budget say."""
        reading = not self._full and self._rest is None
        if self._transport is None or self.closing or reading == self._reading:
            return
        self._reading = reading
        if reading:
            self._heard = self._loop.time()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _on_timer(self) -> None:
        """End what has been silent for too long, break our own silence, and see when to look again."""
        limits, now = self._house.limits, self._loop.time()
        if not self.peer:
            self.end("handshake_timeout")
            return
        if not self._reading:
            self._heard = now  # nobody can be heard whom we do not read
        if now >= self._heard + limits.idle_s:
            self.end("idle")
            return
        if now >= self._sent + limits.ping_s:
            self.send(KEEP_ALIVE)
        if not self.closing:
            if self._timer is not None:
                self._timer.cancel()
            again = min(self._heard + limits.idle_s, self._sent + limits.ping_s)
            self._timer = self._loop.call_at(max(again, now + 0.001), self._on_timer)

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._rest):
            if timer is not None:
                timer.cancel()
        self._timer = self._rest = None


def small_buffers(sock: socket.socket) -> None:
    """Bound what the kernel holds for a connection, or for those that a listener accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)


def host_of(address: str) -> bytes:
    """What counts as one host: an IPv4 address, also one in an IPv6 address, or the first 64 bits of an IPv6 one."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address.encode()
    return packed[12:] if packed[:12] == bytes(10) + b"\xff\xff" else packed[:8]
