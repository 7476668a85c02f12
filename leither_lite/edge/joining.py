"""Joining an organization from a folder of one's own: charter, genesis, and an application (docs/cli.md, `join`).

Decides what a newcomer believes before it knows anybody: the organization's id, which names its key; the charter that
this key has signed; the genesis that the charter's roster has sealed. Whoever answers may be anybody.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.edge import keyfile, lmdb
from leither_lite.edge.client import parse_address
from leither_lite.edge.files import PUBLIC_MODE, replace
from leither_lite.edge.founding import key_of, new_folder, token_of, write_ledger
from leither_lite.edge.lmdb import schema_write
from leither_lite.edge.service import read_board
from leither_lite.edge.verifying import CHARTER_JSON
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key, parse_account
from leither_lite.ledger.joins import Application, InvitedJoin
from leither_lite.ledger.texts import SecretInvite
from leither_lite.limits import FRAME_BYTES_MAX
from leither_lite.node import frames
from leither_lite.organization import SignedCharter, joined_writes
from leither_lite.store import keys
from leither_lite.wire.session import Session

HEAD: Final = "leither:"
ADDRESSES_MAX: Final = 16
CONNECT_S: Final = 10
_READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Link:
    """`leither:<organization id in hex>@HOST:PORT[,HOST:PORT…]`."""

    network: bytes
    addresses: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Link:
        """Raises LocalError("bad_link")."""
        body = text.removeprefix(HEAD)
        name, at, places = body.partition("@")
        addresses = tuple(places.split(","))
        try:
            if body == text or not at or len(addresses) > ADDRESSES_MAX:
                raise RemoteError("bad_link")
            for address in addresses:
                parse_address(address)
            return cls(parse_account(name), addresses)
        except (RemoteError, LocalError):
            raise LocalError("bad_link", f"{HEAD}ORGANIZATION@HOST:PORT[,…] is expected, not {text[:80]!r}") from None

    def __str__(self) -> str:
        return f"{HEAD}{self.network.hex()}@{','.join(self.addresses)}"


class Caller:
    """A connection to one node, for a few questions; blocks."""

    def __init__(self, network: bytes, key: Key, address: str) -> None:
        """Connect. Raises OSError, or RemoteError for who speaks something else."""
        self._deadline_s = time.monotonic() + CONNECT_S
        self._socket = socket.create_connection(parse_address(address), CONNECT_S)
        self._session = Session(network, key, True, os.urandom)
        self._frames: list[bytes] = []
        try:
            self._socket.sendall(self._session.start())
            while not self._session.is_ready:
                self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("it takes too long")
        self._socket.settimeout(left_s)
        chunk = self._socket.recv(_READ_BYTES)
        if not chunk:
            raise ConnectionResetError("it has hung up")
        self._frames += self._session.receive(chunk)
        self._socket.sendall(self._session.outgoing())

    def send(self, content: bytes) -> None:
        """Say something."""
        self._socket.sendall(self._session.send(content))

    def await_frame(self, kind: int) -> bytes:
        """The next frame of a kind; others are left out. Raises OSError, RemoteError."""
        while True:
            while self._frames:
                content = self._frames.pop(0)
                if len(content) > 1 and content[1] == kind:
                    return content
            self._read()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def join(folder: Path, link: Link, memo: str, invite: str | None) -> tuple[SignedCharter, Key, str]:
    """Make `folder` a node of the organization of `link`, which is made if it is not there, and apply.

    Returns the charter, the node's key, and the address that answered. Raises LocalError: bad_invite, other_network,
    nobody_answers, not_a_folder, folder_not_empty, already_founded, folder_in_use, folder_unwritable, …; Halt.
    """
    secret = None if invite is None else _invite(invite, link.network)
    with new_folder(folder):
        board = read_board(folder)
        key = key_of(folder / keyfile.NODE_KEY)
        token_of(folder)
        application = Application.make(link.network, key, memo)
        caller, signed, writes, address = _ask(link, key)
        try:
            content = json.dumps(signed.to_json(), indent=2).encode("ascii") + b"\n"
            replace(folder / CHARTER_JSON, content, PUBLIC_MODE)
            own = encode([application.content, application.signature, invite or ""])
            bootstrap = encode(list(link.addresses))
            rows = [schema_write(), *writes, (keys.BOOTSTRAP, bootstrap), (keys.APPLYING, own)]
            write_ledger(folder / lmdb.FILE, board.map_bytes, rows)
            with suppress(OSError):  # It has hung up: the node applies again once it runs.
                caller.send(_application_frame(link.network, application, secret))
        finally:
            caller.close()
        return signed, key, address


def _invite(text: str, network: bytes) -> SecretInvite:
    try:
        secret = SecretInvite.decode(text)
    except RemoteError as error:
        raise LocalError("bad_invite", error.detail) from None
    if secret.network != network:
        raise LocalError("other_network", "the invite is of another organization")
    return secret


def _application_frame(network: bytes, application: Application, secret: SecretInvite | None) -> bytes:
    if secret is None:
        return encode([frames.APPLICATION, application.content, application.signature])
    return frames.operation_frame(InvitedJoin.make(network, application, secret.invite, secret.secret).encode())


def _ask(link: Link, key: Key) -> tuple[Caller, SignedCharter, list[tuple[bytes, bytes | None]], str]:
    """The first of the addresses that has the charter."""
    told = []
    for address in link.addresses:
        try:
            caller = Caller(link.network, key, address)
            try:
                caller.send(encode([frames.WANT_CHARTER]))
                content = caller.await_frame(frames.CHARTER)
                _, charter, genesis = codec.fields(codec.decode(content), 3, "bad_charter")
                signed = SignedCharter.decode(codec.octets_upto(charter, FRAME_BYTES_MAX, "bad_charter"))
                if signed.charter.network != link.network:
                    raise RemoteError("bad_charter", "of another organization")
                writes = joined_writes(signed, codec.octets_upto(genesis, FRAME_BYTES_MAX, "bad_charter"))
                return caller, signed, writes, address
            except BaseException:
                caller.close()
                raise
        except RemoteError as error:
            told.append(f"{address}: {error}")
        except OSError as error:
            told.append(f"{address}: {error.strerror or error}")
    raise LocalError("nobody_answers", "no node of the organization answers (" + "; ".join(told) + ")")
