"""The boards' files: taken as they are, within their memory at the worst, every setting explained."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import pytest

from leither_lite.board import MIB, Board
from leither_lite.edge.api import bodies_bytes_max
from leither_lite.edge.api_connections import AHEAD_BYTES_MAX
from leither_lite.edge.inbox import OVERHEAD_BYTES, limits_of
from leither_lite.edge.service import read_board
from leither_lite.edge.watchers import NOTES_QUEUED_MAX
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX
from leither_lite.node.peers import HEARD_MAX
from leither_lite.node.states import STATE_BYTES_MAX
from leither_lite.wire.noise import MESSAGE_BYTES_MAX

ROOT: Final = Path(__file__).parents[1]
FILES: Final = tuple(sorted((ROOT / "boards").glob("*.toml")))
USUAL: Final = ROOT / "boards" / "usual"

BASE_BYTES: Final = 27_000 * 1024
"""Anonymous memory of a node that has served some thousand payments, docs/bench.md; less on 32 bit."""
READ_BYTES_MAX: Final = 256 * 1024
"""What one read of a socket brings at most: frames that the inbox has no room for wait with their connection."""
BODY_OBJECTS: Final = 6
"""A decoded body in memory, in its own size on the wire: 2,080 payments of 250 bytes take 2.5 MB."""
HEARD_BYTES: Final = 128
NOTE_BYTES: Final = 1_024
LIMIT_32_BIT: Final = 2047 * MIB


def worst_case(board: Board) -> dict[str, int]:
    """What a node on this board holds when everything that others can fill is full, part by part."""
    peer = READ_BYTES_MAX + 3 * MESSAGE_BYTES_MAX  # the frame too many, and two halves
    return {
        "the node itself": BASE_BYTES,
        "what waits to be sent": board.send_bytes,
        "peers": (board.peers_in_max + board.peers_out_max) * peer,
        "handshakes": limits_of(board).pending_max * MESSAGE_BYTES_MAX,
        "frames that wait, and those of the turn": 2 * board.frames_bytes,
        "operations": board.pool_bytes,
        "bodies": board.bodies_bytes,
        "a body as it is executed": BODY_OBJECTS * BODY_SEGMENTS_MAX * SEGMENT_BYTES_MAX,
        "frames that were heard": 2 * HEARD_MAX * HEARD_BYTES,
        "a state that is caught up with, and its parts": 2 * STATE_BYTES_MAX,
        "requests": bodies_bytes_max(board),
        "what clients send ahead": board.api_connections_max * AHEAD_BYTES_MAX,
        "events": board.api_events_max * NOTES_QUEUED_MAX * NOTE_BYTES,
    }


def board_of(path: Path) -> Board:
    """The board of a file, as `run --board` reads it; of USUAL, that without one."""
    return Board() if path == USUAL else read_board(path.parent / "no-folder", path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_taken_as_it_is(path: Path) -> None:
    """Every value is taken, and every setting is decided on: nothing is left to what is usual."""
    settings = tomllib.loads(path.read_text())
    board = board_of(path)
    assert board == Board.from_settings(settings)
    assert sorted(settings) == sorted(field.name for field in fields(Board))


def test_under_the_folder(tmp_path: Path) -> None:
    """What the data folder's own settings say goes before the board's."""
    (tmp_path / "settings.toml").write_text("willing = 0\n")
    board = read_board(tmp_path, FILES[0])
    assert board == replace(board_of(FILES[0]), willing=0)


def test_there_are_boards() -> None:
    """For the smallest that is meant, and for a large one."""
    assert {path.stem for path in FILES} >= {"nas", "pi-zero"}


@pytest.mark.parametrize("path", [*FILES, USUAL], ids=lambda path: path.stem)
def test_worst_case_fits(path: Path) -> None:
    """All that others can fill at the same time, on top of the node itself, is within the memory that it may take."""
    board = board_of(path)
    parts = worst_case(board)
    told = ", ".join(f"{name} {size / MIB:.1f}" for name, size in parts.items())
    print(f"{path.stem}: {sum(parts.values()) / MIB:.1f} of {board.memory_anonymous_bytes / MIB:.0f} MiB: {told}")
    assert sum(parts.values()) <= board.memory_anonymous_bytes, told


@pytest.mark.parametrize("path", [*FILES, USUAL], ids=lambda path: path.stem)
def test_settings_fit_each_other(path: Path) -> None:
    """A full body reaches a peer, and one peer does not fill what is there for all."""
    board = board_of(path)
    body = BODY_SEGMENTS_MAX * (SEGMENT_BYTES_MAX + OVERHEAD_BYTES)
    assert body < board.peer_send_bytes <= board.send_bytes
    assert board.bodies_bytes >= 2 * BODY_SEGMENTS_MAX * SEGMENT_BYTES_MAX
    assert 2 * board.peer_frames_bytes <= board.frames_bytes
    assert board.peers_per_host_max <= board.peers_in_max
    assert limits_of(board).burst_s * board.peer_bytes_s >= max(body, READ_BYTES_MAX)


def test_pi_zero() -> None:
    """Its memory, its addresses, its core."""
    board = board_of(ROOT / "boards" / "pi-zero.toml")
    assert board.memory_anonymous_bytes <= 64 * MIB
    assert board.map_bytes <= LIMIT_32_BIT
    assert board.peers_in_max + board.peers_out_max >= 6, "a roster of seven"
    assert board.peer_work_s * 3 <= 250, "milliseconds of each second for one peer's signatures"


def test_archive() -> None:
    """A board with a disk keeps a whole database, within the gigabyte that it may take; others keep none."""
    nas = board_of(ROOT / "boards" / "nas.toml")
    assert nas.archive == 256
    assert nas.archive_bytes == 256 * 4_000_000 < 2**30
    assert Board().archive_bytes == board_of(ROOT / "boards" / "pi-zero.toml").archive_bytes == 0


def test_every_setting_is_explained() -> None:
    """docs/store.md has a row for each, with what is usual."""
    text = (ROOT / "docs" / "store.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))
    usual = Board()
    assert rows == {field.name: str(getattr(usual, field.name)) for field in fields(Board)}
