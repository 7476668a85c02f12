"""What has come from peers and waits for the node's next turn, bounded in bytes for each peer and for all.

Decides only what waits and who is read no further until it has been taken; never looks into a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from leither_lite.board import Board
from leither_lite.edge.tcp_link import Limits
from leither_lite.node.events import FrameReceived, PeerJoined, PeerLeft

OVERHEAD_BYTES: Final = 128

PeerEvent = PeerJoined | PeerLeft | FrameReceived


def limits_of(board: Board) -> Limits:
    """A board's budgets as the wire takes them."""
    return Limits(
        peers_in_max=board.peers_in_max,
        peers_out_max=board.peers_out_max,
        pending_max=max(16, board.peers_in_max),
        per_host_max=board.peers_per_host_max,
        send_queue_bytes=board.peer_send_bytes,
        send_bytes=board.send_bytes,
        messages_s=board.peer_messages_s,
        bytes_s=board.peer_bytes_s,
        work_s=board.peer_work_s,
    )


class Inbox:
    """The seat that the wire serves. `wake` is called when something has come; `resume` when a peer may be read on."""

    def __init__(self, board: Board, wake: Callable[[], None]) -> None:
        self._board = board
        self._wake = wake
        self.resume: Callable[[bytes], None] = lambda peer: None
        self._events: deque[PeerEvent] = deque()
        self._bytes: dict[bytes, int] = {}
        self._paused: dict[bytes, None] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """A peer is known."""
        self._events.append(PeerJoined(peer, initiator))
        self._wake()

    def peer_left(self, peer: bytes) -> None:
        """It is gone."""
        self._paused.pop(peer, None)
        self._events.append(PeerLeft(peer))
        self._wake()

    def frame(self, peer: bytes, content: bytes) -> bool:
        """A frame has come; False if it has to wait where it is."""
        size = len(content) + OVERHEAD_BYTES
        of_peer = self._bytes.get(peer, 0) + size
        if of_peer > self._board.peer_frames_bytes or self.size_bytes + size > self._board.frames_bytes:
            self._paused[peer] = None
            return False
        self._bytes[peer] = of_peer
        self.size_bytes += size
        self._events.append(FrameReceived(peer, content))
        self._wake()
        return True

    def take(self) -> list[PeerEvent]:
        """What the next turn takes, in the order in which it came."""
        taken = [self._events.popleft() for _ in range(min(len(self._events), self._board.turn_events_max))]
        for event in taken:
            if isinstance(event, FrameReceived):
                size = len(event.content) + OVERHEAD_BYTES
                self.size_bytes -= size
                left = self._bytes[event.peer] - size
                if left:
                    self._bytes[event.peer] = left
                else:
                    del self._bytes[event.peer]
        if self._paused and taken:
            paused, self._paused = self._paused, {}
            for peer in paused:
                self.resume(peer)
        return taken
