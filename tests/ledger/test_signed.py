"""The statuses, and that docs/protocol.md says what each means, in which order they are found, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.signed import SIGNED_BYTES_MAX, Status, signature_field, signed_content
from leither_lite.organization import PARAMETERS
from tests.fuzz import receipts
from tests.ledger.founding import (
    admission,
    appointment,
    distribution,
    held,
    invited,
    key_of,
    payment,
    role_change,
    willingness,
)

PAGE: Final = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ALICE: Final = key_of(10)


def told(page: str) -> list[str]:
    """The statuses of the page's table."""
    table = page.partition("| status | meaning |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE)


def test_the_page_has_every_status_and_no_other() -> None:
    assert told(PAGE) == [status.value for status in Status]


def test_the_page_says_when_each_is_found() -> None:
    order = PAGE.partition("### 5.5")[2].partition("| status |")[0]
    for status in Status:
        assert status.value in order or status in (Status.OK, Status.OTHER_NETWORK), status


@pytest.mark.parametrize("status", Status)
def test_a_missing_row_is_noticed(status: Status) -> None:
    lines = [line for line in PAGE.splitlines() if not line.startswith(f"| `{status.value}` |")]
    assert told("\n".join(lines)) != [status.value for status in Status]


@pytest.mark.parametrize(
    "operation",
    [
        payment(ALICE, key_of(11), 1, 0),
        distribution(ALICE.account, 1, 0),
        admission(ALICE),
        invited(ALICE, 11),
        role_change(ALICE.account, 0, 0),
        appointment(ALICE),
        willingness(ALICE),
        held(bytes(32), []),
        *receipts.examples(),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_the_page_has_every_code(operation: Operation) -> None:
    code = operation.encode()[1]
    assert re.search(rf"^\| {code} \| .* \| `\[{code}, ", PAGE, re.MULTILINE)


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row[0])
def test_the_page_has_every_parameter_of_the_charter(row: tuple[str, int, int, int]) -> None:
    name, low, high, usual = row
    assert f"| {name.replace('_', ' ')} | {low:,} to {high:,} | {usual:,} |" in PAGE


@pytest.mark.parametrize("value", [b"", bytes(SIGNED_BYTES_MAX)])
def test_signed_content(value: Value) -> None:
    assert signed_content(value) == value


@pytest.mark.parametrize("value", ["", 0, [], bytes(SIGNED_BYTES_MAX + 1)])
def test_signed_content_refused(value: Value) -> None:
    with pytest.raises(RemoteError, match="bad_operation"):
        signed_content(value)


def test_signature_field() -> None:
    assert signature_field(bytes(64)) == bytes(64)
    for value in (bytes(63), bytes(65), "", 0):
        with pytest.raises(RemoteError, match="bad_operation"):
            signature_field(value)
