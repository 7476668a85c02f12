"""The house keeps its rules (tests/house.py), and each rule can be seen broken: a snippet for every way to break it."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.house import (
    LINES_MAX,
    PACKAGE,
    assert_findings,
    floor_findings,
    inexact_findings,
    is_core,
    long_findings,
    name_findings,
    order_findings,
    place_findings,
    read_modules,
    top_findings,
    unpacked_findings,
    world_findings,
)

ROOT: Final = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    """The package."""
    return read_modules(ROOT / PACKAGE)


@pytest.fixture(scope="module")
def kept() -> list[str]:
    """Paths of what git keeps or would take in."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def test_floors(modules: dict[str, str]) -> None:
    """Imports run downward, rooms on one line do not know each other, nothing goes in circles."""
    assert floor_findings(modules) == []


def test_core_touches_no_world(modules: dict[str, str]) -> None:
    """No I/O, clock, randomness or other third party below the edge."""
    assert [found for name, source in modules.items() if is_core(name) for found in world_findings(name, source)] == []


def test_nothing_hangs_on_assertions(modules: dict[str, str]) -> None:
    """The package runs the same with -OO."""
    assert [found for name, source in modules.items() for found in assert_findings(name, source)] == []


def test_core_is_exact(modules: dict[str, str]) -> None:
    """Integers only."""
    assert [
        found for name, source in modules.items() if is_core(name) for found in inexact_findings(name, source)
    ] == []


def test_core_takes_no_set_in_its_own_order(modules: dict[str, str]) -> None:
    """What nodes agree on comes in an order that all of them have."""
    assert [found for name, source in modules.items() if is_core(name) for found in order_findings(name, source)] == []


def test_files_are_short_and_well_named(kept: list[str]) -> None:
    """One idea a file, and a name that tells it."""
    python = [path for path in kept if path.endswith(".py")]
    assert "tests/test_house.py" in python
    assert [found for path in python for found in long_findings(path, (ROOT / path).read_text())] == []
    assert [found for path in python for found in name_findings(path)] == []


def test_top_level_and_texts(kept: list[str]) -> None:
    """Everything has its place, and no text names a place on somebody's machine or an index of packages."""
    assert top_findings(kept) == []
    contents = {path: (ROOT / path).read_bytes() for path in kept}
    texts = {path: content.decode(errors="replace") for path, content in contents.items() if b"\0" not in content}
    places = [found for path, text in texts.items() for found in place_findings(path, text)]
    assert places == []
    assert [path for path, text in texts.items() if len(str(ROOT)) > 8 and str(ROOT) in text] == []


def test_wheel_lacks_nothing(kept: list[str]) -> None:
    """What setup.cfg packs is all there is."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert unpacked_findings(kept, config["options.package_data"][PACKAGE].split()) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("tree.node", "import leither_lite.store.keys", "is not below it"),
        ("tree.node", "def late():\n    from leither_lite.node import Node", "is not below it"),
        ("tree.node", "if TYPE_CHECKING:\n    from leither_lite import ledger", "is not below it"),
        ("tree.node", "from ..ledger import page", "is not below it"),
        ("tree.node", "from . import proof", "a circle: "),
        ("tree.node", "import leither_lite.vapour", "does not exist"),
        ("codec", "from leither_lite import header", "is not below it"),
        ("vapour", "", "has no floor"),
    ],
)
def test_floors_can_fail(module: str, source: str, found: str) -> None:
    """Upward, sideways, hidden in a function or a type, in a circle, or from nowhere."""
    rooms = (
        "",
        ".codec",
        ".header",
        ".ledger",
        ".ledger.page",
        ".node",
        ".store",
        ".store.keys",
        ".tree",
        ".tree.node",
    )
    house = {f"{PACKAGE}{room}": "" for room in rooms}
    house[f"{PACKAGE}.tree.proof"] = "from leither_lite.tree.node import EMPTY\nfrom leither_lite import codec"
    assert floor_findings(house) == []
    house[f"{PACKAGE}.{module}"] = source
    assert any(found in finding for finding in floor_findings(house))


@pytest.mark.parametrize(
    "source",
    [
        *["import asyncio", "import time", "from os import path", "import nacl.utils", "import lmdb", "import secrets"],
        *["def late():\n    import random", "import nacl.bindings.utils", "from datetime import datetime"],
        *["open('x')", "print(1)", "x = hash(b'')"],
    ],
)
def test_world_can_fail(source: str) -> None:
    """Each way out of the core is seen."""
    assert len(world_findings("x", source)) == 1


def test_world_lets_through() -> None:
    """What the core may have."""
    source = "from nacl import bindings\nfrom nacl.exceptions import CryptoError\nimport cbor2\nbox.open(1)"
    assert world_findings("x", source + "\nfrom collections.abc import Iterator\nimport leither_lite.codec") == []


@pytest.mark.parametrize("source", ["1.0", "1e3", "2j", "a / b", "a /= 2", "float(a)", "round(a)"])
def test_inexact_can_fail(source: str) -> None:
    """Each way to a float is seen; integers are let through."""
    assert len(inexact_findings("x", source)) == 1
    assert inexact_findings("x", "a // b + 10**3\nisinstance(a, float)") == []


@pytest.mark.parametrize(
    "source",
    [
        *["for x in set(a): f(x)", "for x in {1, 2}: f(x)", "[f(x) for x in frozenset(a)]", "{x: 1 for x in {1, 2}}"],
        *["list(set(a))", "b''.join({c, d})", "[*set(a)]", "for x in set(a) - b: f(x)", "s = {1}\nfor x in s: f(x)"],
        *["def f(s: set[int]) -> None:\n    tuple(s)", "self.s: Final[set[int]] = x\nfor x in self.s | {y}: f(x)"],
        *["any([f(x) for x in {1, 2}])", "s = set()\ns.pop()", "enumerate({a}.union(b))"],
    ],
)
def test_order_can_fail(source: str) -> None:
    """Each way for a set's order to leak is seen."""
    assert len(order_findings("x", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "for x in sorted({1, 2}): f(x)",
        "any(x in y for x in {1})",
        "len({1})",
        "{-x for x in {1}}",
        "for x in {1: 2}: f(x)",
    ],
)
def test_order_lets_through(source: str) -> None:
    """What has no order, or is given one."""
    assert order_findings("x", source) == []


def test_the_rest_can_fail() -> None:
    """Assertions, length, names, places, the top level, what is not packed."""
    assert len(assert_findings("x", "def f():\n    assert x")) == 1
    assert long_findings("x", "\n" * LINES_MAX) == []
    assert len(long_findings("x", "\n" * (LINES_MAX + 1))) == 1
    assert name_findings("leither_lite/mimei/database.py") == []
    assert len(name_findings("tests/wire/test_frame_helpers.py")) == 1
    assert place_findings("x", "GET /v1/root/work\n/var/lib/leither-lite\n$HOME/work/x") == []
    # In pieces, so that this file itself stays clean.
    hosts = {"pypi": "org", "files.pythonhosted": "org", "deb.debian": "org"}
    for place in [
        *(f"'/{top}/a'" for top in ("home", "root")),
        *(f"https://{host}.{end}" for host, end in hosts.items()),
    ]:
        assert len(place_findings("x", place)) == 1
    assert top_findings(["notes.txt", "docs/protocol.md"]) == ["notes.txt"]
    assert unpacked_findings(["leither_lite/__init__.py", "leither_lite/py.typed"], ["py.typed"]) == []
    lacking = ["leither_lite/edge/tcp.py", "leither_lite/edge/api.json"]
    assert unpacked_findings(lacking, ["py.typed"]) == ["leither_lite/edge", "leither_lite/edge/api.json"]
