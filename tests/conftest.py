"""What all tests share: the options `--full` and `--system`, and how hypothesis draws its examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

SYSTEM = Path(__file__).parent / "system"
LIVE = Path(__file__).parent / "live"

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what lies in tests/system. Of several processes, one has all tests that start nodes, which come first; what
    is in one file stays together."""
    live = []
    for item in items:
        is_system = SYSTEM in item.path.parents
        if is_system:
            item.add_marker("system")
        if is_system or LIVE in item.path.parents:
            live.append(item)
        if config.pluginmanager.hasplugin("xdist"):
            name = "live" if live[-1:] == [item] else str(item.path)
            item.add_marker(pytest.mark.xdist_group(name))
    first = frozenset(live)
    items[:] = [*live, *(item for item in items if item not in first)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what an ordinary run leaves out."""
    if not config.getoption("system"):
        terminalreporter.write_line("what lies in tests/system runs in tools/test --system")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """True where the long form of a test is asked for."""
    return bool(pytestconfig.getoption("full"))
