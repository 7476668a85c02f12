"""Keys out of the folder and back into it, under passphrases from files and from the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from leither_lite.edge import keyfile, passphrase
from tests.commands import Run


@pytest.mark.usefixtures("cheap")
def test_key_export_and_import(alone: Run, data: Path, tmp_path: Path) -> None:
    """Both keys, to a file and to stdout; nothing is overwritten, and a wrong passphrase is exit 1."""
    secret = tmp_path / "passphrase"
    secret.write_text("schlüssel\r\nnot this\n")
    given = ("--passphrase-file", str(secret))
    code, value = alone.json("key", "export", *given, "--out", str(tmp_path / "node.export"))
    key = keyfile.load(data / "node.key")
    assert (code, value["public_key"], value["account"]) == (0, key.public.hex(), key.account.hex())
    assert (tmp_path / "node.export").stat().st_mode & 0o777 == 0o600
    assert alone("key", "export", *given, "--out", str(tmp_path / "node.export"))[0] == 1
    (tmp_path / "organization.export").write_text(alone("key", "export", "--organization", *given)[1])

    code, value = alone.json("key", "import", str(tmp_path / "node.export"), *given)
    assert (code, value["error"]["code"]) == (1, "key_exists")
    for name, options in (("node", ()), ("organization", ("--organization",))):
        before = (data / f"{name}.key").read_bytes()
        (data / f"{name}.key").unlink()
        assert alone("key", "import", *options, str(tmp_path / f"{name}.export"), *given)[0] == 0
        assert (data / f"{name}.key").read_bytes() == before
    assert alone("key", "import", str(tmp_path / "node.export"), *given, "--out", str(tmp_path / "k"))[0] == 0
    assert keyfile.load(tmp_path / "k") == key

    other = ("--out", str(tmp_path / "other"))
    secret.write_text("wrong")
    assert alone.json("key", "import", str(tmp_path / "node.export"), *given, *other)[1]["error"]["code"] == (
        "wrong_passphrase"
    )
    assert alone.json("key", "import", str(data / "node.key"), *given, *other)[1]["error"]["code"] == "bad_export"
    code, value = alone.json("key", "import", str(tmp_path / "none"), *given, *other)
    assert (code, value["error"]["code"]) == (2, "unreadable_file")
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("cheap")
def test_passphrases_at_a_terminal(alone: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asked twice for something new; without a terminal, a file is needed. Both ways to type an ü are one."""
    code, value = alone.json("key", "export")
    assert (code, value["error"]["code"]) == (2, "passphrase_missing")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    typed = iter(["\u00fc", "u", "\u00fc", "u\u0308", "u\u0308"])
    monkeypatch.setattr(passphrase, "getpass", lambda _: next(typed))
    assert alone.json("key", "export")[1]["error"]["code"] == "passphrases_differ"
    assert alone("key", "export", "--out", str(tmp_path / "e"))[0] == 0
    assert alone("key", "import", str(tmp_path / "e"), "--out", str(tmp_path / "k"))[0] == 0
