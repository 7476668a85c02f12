"""A walk through a whole store: does every retained pulse follow from the one before it? (docs/store.md)

Decides in which order a store is looked through, and goes on to the next table when one is damaged. Never writes, never
repairs.
"""

from __future__ import annotations

from collections.abc import Callable

from leither_lite import codec
from leither_lite.edge.findings import Finding, Findings
from leither_lite.edge.walk_again import execute
from leither_lite.edge.walk_chain import follow
from leither_lite.edge.walk_rows import OWN, read_singles, read_strays, read_table
from leither_lite.edge.walk_seats import walk_seats
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, header_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.group import Group
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sets import read_sent
from leither_lite.node.root_chain import load_roots, take_seal
from leither_lite.organization import Charter, SignedCharter
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.tree import SumTree


def walk(reader: Reader, full: bool, progress: Callable[[str], None]) -> list[Finding]:
    """What is wrong in a store; nothing if it is whole.

    Every value, the chain of sealed pulses with the state of each, the groups above level 1, and with `full` every body
    once more.
    """
    findings = Findings(progress)
    for first in OWN:
        with findings.noting("damaged"):
            read_table(findings, reader, first)
    with findings.noting("damaged"):
        read_strays(findings, reader)
        read_singles(findings, reader)
    signed: SignedCharter | None = None
    with findings.noting("charter"):
        signed = SignedCharter.decode(reader.get(keys.CHARTER) or b"")
    if signed is not None:
        with findings.noting("checkpoint"):
            _read_checkpoint(reader, signed.charter)
        _walk_groups(findings, reader, signed.charter, full)
    return findings.found


def _walk_groups(findings: Findings, reader: Reader, charter: Charter, full: bool) -> None:
    newest = Findings(findings.progress)
    roots: Roots | None = None
    with newest.noting("newest_state"):
        group = ledger.load(reader, charter.network, charter.supply, rules=charter.rules)
        with newest.noting("root"):
            roots = _read_roots(reader, group, charter)
        _check_settled(reader, group.settled.tree)
    pulses: list[int] = []
    with findings.noting("chain"):
        pulses = follow(findings, reader, charter, roots)
    findings.add(newest)
    with findings.noting("seat"):
        walk_seats(findings, reader, charter, roots)
    if roots is not None:
        is_clean = findings.is_clean
        with findings.noting("body"):
            execute(findings, reader, charter, pulses if full and is_clean else [], roots)


def _read_checkpoint(reader: Reader, charter: Charter) -> None:
    content = reader.get(keys.CHECKPOINT)
    if content is not None:
        Checkpoint.decode(content).verify(charter.network, charter.organization_key)


def _read_roots(reader: Reader, group: Group, charter: Charter) -> Roots:
    """The root chain, as far as it is kept. Raises RemoteError("root"), Halt."""
    roots = load_roots(reader, group, charter.roster)
    content = reader.get(keys.ROOT)
    if content is not None:
        header = take_seal(codec.fields(codec.decode(content), 2, "bad_root")).header
        pulse = Header.decode(header).pulse
        if not group.is_root and roots.denies(header_digest(header), pulse):
            raise RemoteError("root", f"the newest root header is not the one that is kept of pulse {pulse}")
    return roots


def _check_settled(reader: Reader, tree: SumTree) -> None:
    """The tree has the receipts that are kept as settled, and no others."""
    count = 0
    for key, content in reader.scan(*keys.SETTLED):
        receipt, pulse = read_sent(content)
        if tree.get(receipt.id) != receipt.leaf(pulse):
            raise RemoteError("settled", f"the receipt under {key.hex()} is not in the tree of what is settled")
        count += 1
    if count != len(tree):
        raise RemoteError("settled", f"of {len(tree)} settled receipts {count} are here")
