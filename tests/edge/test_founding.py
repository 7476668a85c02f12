"""Founding: a folder is founded whole or not at all, once, and never over anything that is there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leither_lite.edge import files, founding, keyfile, lmdb
from leither_lite.edge.founding import found
from leither_lite.edge.service import lock_folder
from leither_lite.errors import LocalError
from leither_lite.ledger import group as ledger
from leither_lite.ledger.records import Role
from leither_lite.limits import SUPPLY_MAX
from leither_lite.organization import SignedCharter
from leither_lite.store import keys
from tests.edge.folders import opened

FILES = ["api-token", "charter.json", "ledger.mdb", "lock", "node.key", "organization.key"]


def test_found(tmp_path: Path) -> None:
    """Every file with its mode, and a ledger that holds the genesis of the charter."""
    folder = tmp_path / "deep" / "down"
    signed = found(folder, "Bäckerei", SUPPLY_MAX, 10)
    assert sorted(os.listdir(folder)) == FILES
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in FILES}
    assert modes.pop("charter.json") == 0o644
    assert set(modes.values()) == {0o600}
    charter = signed.charter
    assert SignedCharter.from_json(json.loads((folder / "charter.json").read_bytes())) == signed
    assert charter.organization_key == keyfile.load(folder / keyfile.ORGANIZATION_KEY).public
    founder = keyfile.load(folder / keyfile.NODE_KEY)
    assert (charter.founder_key, charter.roster) == (founder.public, (founder.public,))
    assert (charter.name, charter.supply, charter.pulse_ms) == ("Bäckerei", SUPPLY_MAX, 10)
    with opened(folder) as store:
        assert SignedCharter.decode(store.get(keys.CHARTER) or b"") == signed
        group = ledger.load(store, charter.network, SUPPLY_MAX)
    assert group.header.pulse == 0
    assert group.entries[charter.network].record[:4] == (SUPPLY_MAX, 0, 0, Role.ORGANIZATION)
    assert group.entries[founder.account].record[:4] == (0, 0, 0, Role.SUPERVISOR)


def test_a_founded_folder_is_left_alone(tmp_path: Path) -> None:
    """The second founding changes no byte."""
    found(tmp_path / "a", "Test", 1, 1_000)
    before = {name: (tmp_path / "a" / name).read_bytes() for name in FILES}
    with pytest.raises(LocalError) as error:
        found(tmp_path / "a", "Test", 1, 1_000)
    assert error.value.code == "already_founded"
    assert {name: (tmp_path / "a" / name).read_bytes() for name in sorted(os.listdir(tmp_path / "a"))} == before


class Killed(BaseException):
    """The process ends here."""


def stopping_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> Callable[[], int]:
    """Have the process end before the step of this number that reaches the disk. How many steps were taken."""
    taken = 0

    def counted(does: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal taken
            if taken == steps:
                raise Killed
            taken += 1
            return does(*args, **named)

        return call

    for place, name in (
        (files, "_write"),
        (files, "sync_folder"),
        (founding, "Store"),
        (founding, "sync_folder"),
        (lmdb.Store, "write"),
    ):
        monkeypatch.setattr(place, name, counted(getattr(place, name)))
    return lambda: taken


STEPS = 11
"""Four files of two steps each, the store, its one write, and its name."""


def test_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are all there are."""
    taken = stopping_after(monkeypatch, 1_000)
    found(tmp_path, "Test", 5, 1_000)
    assert taken() == STEPS


@pytest.mark.parametrize("steps", range(STEPS))
def test_an_interrupted_founding_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Wherever it ended, keys that were made are used, and what the second founding makes is whole."""
    with monkeypatch.context() as patched:
        stopping_after(patched, steps)
        with pytest.raises(Killed):
            found(tmp_path, "Test", 5, 1_000)
    had = {name: (tmp_path / name).read_bytes() for name in FILES if (tmp_path / name).exists()}
    if "ledger.mdb" in had:
        assert sorted(had) == FILES
    else:
        found(tmp_path, "Test", 5, 1_000)
    for name in ("node.key", "organization.key", "api-token"):
        assert had.get(name) in (None, (tmp_path / name).read_bytes())
    assert sorted(os.listdir(tmp_path)) == FILES
    with opened(tmp_path) as store:
        assert ledger.load(store, keyfile.load(tmp_path / "organization.key").account, 5).header.pulse == 0


def test_the_folder_of_a_node_that_has_run_is_founded_already(tmp_path: Path) -> None:
    found(tmp_path, "Test", 1, 1_000)
    (tmp_path / "api-address").write_text("127.0.0.1:8080")
    with pytest.raises(LocalError) as error:
        found(tmp_path, "Test", 1, 1_000)
    assert error.value.code == "already_founded"


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    """Nothing is written into a folder that somebody uses for something else."""
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(LocalError, match=r"thesis\.txt") as error:
        found(tmp_path, "Test", 1, 1_000)
    assert error.value.code == "folder_not_empty"
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(LocalError) as error:
        found(tmp_path / "thesis.txt", "Test", 1, 1_000)
    assert error.value.code == "not_a_folder"
    with pytest.raises(LocalError) as error:
        found(tmp_path / "thesis.txt" / "below", "Test", 1, 1_000)
    assert error.value.code == "folder_unwritable"


def test_what_may_be_there(tmp_path: Path) -> None:
    """A fresh file system, settings, and keys that were imported before."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "settings.toml").write_text("map_bytes = 2000000\n")
    key = keyfile.create(tmp_path / "organization.key")
    assert found(tmp_path, "Test", 1, 1_000).charter.organization_key == key.public


def test_bad_settings_and_keys_stop_it(tmp_path: Path) -> None:
    """Before there is a ledger."""
    for name, content, code in (
        ("settings.toml", b"map_bytes = 1\n", "bad_setting"),
        ("node.key", b"leither-key-1", "key_damaged"),
        ("api-token", b"short", "key_damaged"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
        with pytest.raises(LocalError) as error:
            found(folder, "Test", 1, 1_000)
        assert error.value.code == code
        assert not (folder / "ledger.mdb").exists()
        assert (folder / name).read_bytes() == content


def test_one_key_for_both_is_refused(tmp_path: Path) -> None:
    """The organization's key is to be taken away; the node's stays."""
    keyfile.store(tmp_path / "organization.key", keyfile.create(tmp_path / "node.key"))
    with pytest.raises(LocalError) as error:
        found(tmp_path, "Test", 1, 1_000)
    assert error.value.code == "same_key"


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """By whoever holds its lock."""
    with lock_folder(tmp_path), pytest.raises(LocalError) as error:
        found(tmp_path, "Test", 1, 1_000)
    assert error.value.code == "folder_in_use"


@pytest.mark.parametrize(
    ("name", "supply", "pulse_ms", "code"),
    [
        ("", 1, 1_000, "bad_name"),
        ("a" * 65, 1, 1_000, "bad_name"),
        ("\x1b[2J", 1, 1_000, "bad_name"),
        ("\udcff", 1, 1_000, "bad_name"),
        ("Test", 0, 1_000, "bad_supply"),
        ("Test", -1, 1_000, "bad_supply"),
        ("Test", SUPPLY_MAX + 1, 1_000, "bad_supply"),
        ("Test", 1, 9, "bad_pulse_ms"),
        ("Test", 1, 60_001, "bad_pulse_ms"),
    ],
)
def test_what_cannot_be_founded(tmp_path: Path, name: str, supply: int, pulse_ms: int, code: str) -> None:
    """Refused before anything is written."""
    with pytest.raises(LocalError) as error:
        found(tmp_path / "a", name, supply, pulse_ms)
    assert error.value.code == code
    assert not (tmp_path / "a").exists()


def test_an_organization_may_have_rosters_of_seven(tmp_path: Path) -> None:
    signed = found(tmp_path / "d", "Large", 5, 50, roster_max=7)
    assert signed.charter.parameter("roster_max") == 7
    assert found(tmp_path / "e", "Usual", 5, 50).charter.parameter("roster_max") == 4


def test_an_organization_may_have_small_groups_and_short_terms(tmp_path: Path) -> None:
    """For trials: a network of several groups of a few accounts each."""
    charter = found(tmp_path / "d", "Small", 5, 50, group_max=4, term_ticks=10).charter
    assert (charter.rules.members_max, charter.rules.term_ticks) == (4, 10)
    usual = found(tmp_path / "e", "Usual", 5, 50).charter
    assert (usual.rules.members_max, usual.rules.term_ticks) == (256, 1_800)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_max", 3),
        ("group_max", 257),
        ("term_ticks", 9),
        ("term_ticks", 30 * 86_400 + 1),
        ("roster_max", 0),
        ("roster_max", 8),
    ],
)
def test_parameters_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    """Refused before anything is written."""
    with pytest.raises(LocalError) as error:
        found(tmp_path / "a", "Test", 1, 1_000, **{name: value})
    assert error.value.code == "bad_parameter"
    assert not (tmp_path / "a").exists()
