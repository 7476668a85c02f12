"""Keys, tokens and exports in files: whole or not there, for their owner only, and every damage has a name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge import files, keyfile
from leither_lite.edge.keyfile import Cost, Export
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key

KEY: Final = Key.from_seed(bytes(range(32)))
CHEAP: Final = Cost(1, 8192)


def code_of(error: pytest.ExceptionInfo[LocalError]) -> str:
    """The code of the error that was raised."""
    return error.value.code


def test_create_and_load(tmp_path: Path) -> None:
    """A key comes back, its file is 0600 whatever the umask, and nothing else is left in the folder."""
    path = tmp_path / "node.key"
    before = os.umask(0)
    try:
        key = keyfile.create(path)
    finally:
        os.umask(before)
    assert keyfile.load(path) == key == keyfile.load_optional(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["node.key"]
    assert keyfile.create(tmp_path / "other.key") != key


def test_mode_holds_under_a_narrow_umask(tmp_path: Path) -> None:
    """The owner can read what was written, too."""
    before = os.umask(0o777)
    try:
        keyfile.create(tmp_path / "node.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Neither by `create` nor by `store`."""
    path = tmp_path / "node.key"
    keyfile.store(path, KEY)
    for write in (lambda: keyfile.create(path), lambda: keyfile.store(path, KEY)):
        with pytest.raises(LocalError) as error:
            write()
        assert code_of(error) == "key_exists"
    assert keyfile.load(path) == KEY


def test_write_new_loses_a_race(tmp_path: Path) -> None:
    """A file that appears while another is being written stays as it is."""
    (tmp_path / "a").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "a", b"second", 0o600)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_an_interrupted_start_is_no_key(tmp_path: Path) -> None:
    """What is left of it is neither read nor in the way."""
    path = tmp_path / "node.key"
    files.unfinished(path).write_bytes(b"leither-key-1 00")
    assert keyfile.load_optional(path) is None
    key = keyfile.create(path)
    assert keyfile.load(path) == key
    assert os.listdir(tmp_path) == ["node.key"]


def test_a_link_is_not_followed_where_a_key_is_written(tmp_path: Path) -> None:
    """Whoever can write the folder cannot have the key written elsewhere, or another file cut."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    files.unfinished(tmp_path / "node.key").symlink_to(elsewhere)
    keyfile.create(tmp_path / "node.key")
    assert elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_exposed_keys_are_refused(tmp_path: Path, mode: int) -> None:
    """The message names the command that mends it."""
    path = tmp_path / "node.key"
    keyfile.create(path)
    keyfile.create_token(tmp_path / "api-token")
    for name, load in (("node.key", keyfile.load), ("api-token", keyfile.load_token)):
        (tmp_path / name).chmod(mode)
        with pytest.raises(LocalError, match=f"chmod 600 {tmp_path / name}") as error:
            load(tmp_path / name)
        assert code_of(error) == "key_exposed"


def test_every_damage_to_a_key_file_is_seen(tmp_path: Path) -> None:
    """Each flipped bit, each cut, and more than belongs there."""
    path = tmp_path / "node.key"
    good = keyfile.encode_key(KEY)
    assert keyfile.decode_key(good) == KEY
    flipped = [good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in range(8)]
    cut = [good[:size] for size in range(len(good))]
    for wrong in [*flipped, *cut, good + b"\n", good * 2, good + bytes(1000)]:
        path.write_bytes(wrong)
        path.chmod(0o600)
        with pytest.raises(LocalError) as error:
            keyfile.load(path)
        assert code_of(error) == "key_damaged"
        assert KEY.seed.hex()[2:] not in str(error.value)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    """Each has its own code."""
    with pytest.raises(LocalError) as error:
        keyfile.load(tmp_path / "node.key")
    assert code_of(error) == "key_missing"
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(LocalError) as error:
        keyfile.load(tmp_path / "folder")
    assert code_of(error) == "key_unreadable"
    with pytest.raises(LocalError) as error:
        keyfile.create(tmp_path / "nowhere" / "node.key")
    assert code_of(error) == "key_unwritable"


def test_tokens(tmp_path: Path) -> None:
    """A token comes back; one that is cut, longer, or in capitals is refused."""
    path = tmp_path / "api-token"
    token = keyfile.create_token(path)
    assert keyfile.load_token(path) == token
    assert len(bytes.fromhex(token)) == 32
    for wrong in (b"", token[:-1].encode(), token.encode() * 2, b"A" * 64 + b"\n", token.encode() + b"\n\n"):
        path.write_bytes(wrong)
        with pytest.raises(LocalError) as error:
            keyfile.load_token(path)
        assert code_of(error) == "key_damaged"


def test_export_and_import() -> None:
    """The passphrase opens it, another does not, and two exports of one key have nothing in common but the key."""
    content = keyfile.export(KEY, "schlüssel".encode(), CHEAP)
    assert keyfile.import_(content, "schlüssel".encode()) == KEY
    again = Export.decode(keyfile.export(KEY, "schlüssel".encode(), CHEAP))
    first = Export.decode(content)
    assert (first.salt, first.box) != (again.salt, again.box)
    assert first.encode() == content
    assert KEY.seed.hex().encode() not in content
    for wrong in (b"schlussel", "schlüssel ".encode()):
        with pytest.raises(LocalError) as error:
            keyfile.import_(content, wrong)
        assert code_of(error) == "wrong_passphrase"
    for bad in (b"", bytes(1025)):
        with pytest.raises(LocalError) as error:
            keyfile.export(KEY, bad, CHEAP)
        assert code_of(error) == "bad_passphrase"


def test_usual_cost_is_libsodiums_moderate() -> None:
    """As the project promises: 256 MiB and three passes, and no file can ask for more memory."""
    assert keyfile.USUAL_COST == Cost(6, 64 * 1024 * 1024)
    assert keyfile.COST_MAX.memory_bytes == 256 * 1024 * 1024


def test_every_damage_to_an_export_is_seen_before_the_passphrase_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flipped bit and each cut is bad_export, and nothing is derived from it."""
    good = keyfile.export(KEY, b"x", CHEAP)

    def derive(*_: object) -> bytes:
        raise AssertionError("derived")

    monkeypatch.setattr(keyfile, "_derive", derive)
    flipped = [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))]
    for wrong in [*flipped, *(good[:size] for size in range(len(good))), good + b"\n", good + bytes(2000)]:
        with pytest.raises(LocalError) as error:
            keyfile.import_(wrong, b"x")
        assert code_of(error) == "bad_export"


@pytest.mark.parametrize(
    "cost",
    [Cost(0, 8192), Cost(9, 8192), Cost(2**63, 8192), Cost(1, 0), Cost(1, 8191), Cost(1, 2**28 + 1), Cost(1, 2**40)],
)
def test_costs_beyond_the_bounds_are_refused(cost: Cost) -> None:
    """A hostile file takes neither all memory nor all time."""
    with pytest.raises(RemoteError) as error:
        Export.decode(Export(KEY.public, cost, bytes(16), bytes(72)).encode())
    assert error.value.reason == "bad_export"
    Export.decode(Export(KEY.public, Cost(8, 2**28), bytes(16), bytes(72)).encode())


def test_an_export_under_another_name_is_refused() -> None:
    """What it says it holds is what it holds."""
    exported = Export.decode(keyfile.export(KEY, b"x", CHEAP))
    other = Key.from_seed(bytes(32)).public
    renamed = Export(other, exported.cost, exported.salt, exported.box).encode()
    with pytest.raises(LocalError) as error:
        keyfile.import_(renamed, b"x")
    assert code_of(error) == "bad_export"


def test_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without 64 MiB to spare says so."""

    def kdf(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("nacl.pwhash.argon2id.kdf", kdf)
    with pytest.raises(LocalError, match="64 MiB") as error:
        keyfile.export(KEY, b"x")
    assert code_of(error) == "memory_short"
