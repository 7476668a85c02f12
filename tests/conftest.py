"""What all tests share: the options `--full` and `--system`, and how hypothesis draws its examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SYSTEM = Path(__file__).parent / "system"

# Every run draws the same examples, so that a failure is the change's; the long form draws new ones and prints how to
# get them again. No deadlines: a slow board is not a fault.
settings.register_profile("quick", derandomize=True, database=None, deadline=None, max_examples=60)
settings.register_profile("full", database=None, deadline=None, max_examples=2_000, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options."""
    parser.addoption("--full", action="store_true", help="the long forms too: more examples, longer simulated runs")
    parser.addoption("--system", action="store_true", help="tests/system too: needs root and Debian's packages")


def pytest_configure(config: pytest.Config) -> None:
    """Chooses hypothesis' profile."""
    settings.load_profile("full" if config.getoption("full") else "quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves tests/system out of an ordinary run, wherever it was started from."""
    inside = collection_path.is_relative_to(SYSTEM)
    return True if inside and not config.getoption("system") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what lies in tests/system. Tests that start nodes come first: they take longest."""
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker("system")
    items.sort(key=lambda item: not starts_nodes(item.nodeid))


def starts_nodes(name: str) -> bool:
    """True for the id of a test that starts nodes."""
    return name.startswith(("tests/live/", "tests/system/"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes, one has all tests that start nodes; what is in one file stays together."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        """Tests by the file that they are in."""

        def _split_scope(self, nodeid: str) -> str:
            return "nodes" if starts_nodes(nodeid) else nodeid.partition("::")[0]

    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what an ordinary run leaves out."""
    if not config.getoption("system"):
        terminalreporter.write_line("what lies in tests/system runs in tools/test --system")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """True where the long form of a test is asked for."""
    return bool(pytestconfig.getoption("full"))
