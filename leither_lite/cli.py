"""The command line: what can be asked, and how answers and errors look (docs/cli.md).

Decides forms and exit codes only; `edge.commands` does what is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

from leither_lite import __version__
from leither_lite.edge import commands
from leither_lite.edge.commands import API_USUAL, REFUSED, Answer, plain, say
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.limits import INVITE_TICKS_MAX, SUM_MAX, SUPPLY_MAX

USAGE: Final = 2
NO_NODE: Final = 3
HALTED: Final = 4
INTERRUPTED: Final = 130

NAME_USUAL: Final = "Leither Lite"
SUPPLY_USUAL: Final = 1_000_000_000_000
PULSE_MS_USUAL: Final = 1_000
WAIT_S_USUAL: Final = 120

_TICKS_MAX: Final = 2**40
_PULSE_MS_MAX: Final = 60_000
_EXIT_OF_CODE: Final = {
    "bad_address": USAGE,
    "bad_link": USAGE,
    "bad_name": USAGE,
    "bad_parameter": USAGE,
    "bad_pulse_ms": USAGE,
    "bad_trust": USAGE,
    "passphrase_missing": USAGE,
    "unreadable_file": USAGE,
    "unwritable_file": USAGE,
    "usage": USAGE,
    "node_not_running": NO_NODE,
    "node_unreachable": NO_NODE,
    "internal": HALTED,
}
_HALTED_HEADS: Final = ("store_", "disk_")
"""Codes by which a running node tells that it cannot keep books."""


class Parser(argparse.ArgumentParser):
    """argparse, but options have one name, and a wrong command line is an error like others: it can be told as JSON."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **named})

    def error(self, message: str) -> NoReturn:
        """Raises LocalError("usage")."""
        raise LocalError("usage", f"{message} ({self.prog} --help says more)")


def whole(name: str, low: int, high: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number."""

    def take(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(high))
        if not digits or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{name} must be a whole number from {low} to {high}, not {text[:40]!a}")
        return int(text)

    return take


def hex_of(name: str, digits: int) -> Callable[[str], str]:
    """The type of an argument that is an id."""

    def take(text: str) -> str:
        if len(text) != digits or text.strip("0123456789abcdef"):
            raise argparse.ArgumentTypeError(f"{name} must be {digits} lower-case hex digits, not {text[:40]!a}")
        return text

    return take


def _parts() -> dict[str, Parser]:
    """Arguments that several commands share."""
    parts = {name: Parser(add_help=False) for name in ("all", "api", "wait", "own", "key")}
    add = parts["all"].add_argument
    add("--data", type=Path, default=Path("data"), metavar="DIR", help="the node's folder (./data)")
    add("--json", action="store_true", help="answer with one JSON object on stdout, errors too")
    parts["api"].add_argument("--api", metavar="HOST:PORT", help="where the API is, if the folder does not say it")
    add = parts["wait"].add_argument
    wait = whole("wait", 0, 86_400)
    wait_help = f"for the seal, at most so long ({WAIT_S_USUAL}); 0: do not"
    add("--wait", type=wait, default=WAIT_S_USUAL, metavar="SECONDS", help=wait_help)
    add("--idempotency-key", metavar="TEXT", help="whatever is asked again with it is not paid again")
    parts["own"].add_argument("--account", type=hex_of("an id", 40), metavar="ID", help="of this node (its first)")
    add = parts["key"].add_argument
    add("--organization", action="store_true", help="the organization's key, not the node's")
    add("--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase (asked for)")
    return parts


def parser() -> Parser:
    """All commands and their arguments."""
    top = Parser(prog="leither-lite", description="A node that keeps an organization's ledger.")
    top.add_argument("--version", action="version", version=f"leither-lite {__version__}")
    names = top.add_subparsers(metavar="COMMAND", required=True)
    parts = _parts()
    ident, amount = hex_of("an id", 40), whole("amount", 1, SUPPLY_MAX)

    def command(name: str, does: Callable[[argparse.Namespace], Answer], text: str, *shared: str) -> Callable[..., Any]:
        made = names.add_parser(name, help=text, description=text, parents=[parts[part] for part in ("all", *shared)])
        made.set_defaults(does=does)
        return made.add_argument

    add = command("found", commands.found, "found an organization in an empty folder")
    add("--name", default=NAME_USUAL, help=f"the organization's ({NAME_USUAL})")
    supply = whole("supply", 1, SUPPLY_MAX)
    add("--supply", type=supply, default=SUPPLY_USUAL, metavar="N", help=f"in the smallest unit ({SUPPLY_USUAL})")
    pulse_ms = whole("pulse-ms", 1, _PULSE_MS_MAX)
    add("--pulse-ms", type=pulse_ms, default=PULSE_MS_USUAL, metavar="N", help=f"a pulse cycle ({PULSE_MS_USUAL})")
    add("--roster-max", type=whole("roster-max", 1, 7), default=4, metavar="N", help="how many may ever seal (4)")
    group_max = whole("group-max", 4, 256)
    add("--group-max", type=group_max, default=256, metavar="N", help="members of a node group at most (256)")
    term_ticks = whole("term-ticks", 10, 30 * 86_400)
    add("--term-ticks", type=term_ticks, default=1_800, metavar="N", help="a term at least, in pulse cycles (1800)")

    add = command("run", commands.run, "run the node until it is stopped")
    add("--listen", metavar="HOST:PORT", help="for other nodes (without it, the node only dials out)")
    add("--announce", metavar="HOST:PORT", help="where others reach it, if that is another address")
    add("--board", type=Path, metavar="FILE", help="a board's settings, under those of the folder (boards/*.toml)")
    add("--api", metavar="HOST:PORT", help=f"for programs on this machine ({API_USUAL})")
    add("--restored", action="store_true", help="this folder is a copy, and its original will never run again")

    add = command("join", commands.join, "join an organization, in an empty folder")
    add("link", metavar="LINK", help="leither:ORGANIZATION@HOST:PORT[,…], as its nodes say it")
    add("--invite", metavar="TEXT", help="leither:invite/…: no supervisor need approve")
    add("--memo", default="", help="who asks, for whoever approves")

    add = command("roster", commands.roster, "show who seals, or name the next roster as a supervisor", "api")
    add("node", nargs="*", metavar="NODE", help="accounts or public keys: 1, 3, 4 or 7, chief first")
    add("--force", action="store_true", help="even if so many are away that nothing may ever be sealed again")

    command("peers", commands.peers, "who is connected", "api")
    command("evidence", commands.evidence, "who has signed two things of which only one may be", "api")

    add = command("simulate", _simulate, "run many nodes in one process, with virtual time and faults")
    add("--seed", type=whole("seed", 0, SUM_MAX), default=0, metavar="N")
    add("--nodes", type=whole("nodes", 1, 4_096), metavar="N", help="7, or 14 in several groups")
    add("--roster", type=whole("roster", 1, 7), metavar="N", help="1, 3, 4 or 7 (the largest that the nodes allow)")
    add("--pulses", type=whole("pulses", 1, 1_000_000), metavar="N", help="200, or 40 of the root of several groups")
    add("--group-max", type=group_max, metavar="N", help="several groups, of so many members at most")
    add("--faults", default="all", metavar="KIND,…", help="loss,delay,duplicate,partition,crash,torn,drift; all; none")
    add("--paper", action="store_true", help="instead, the paper's figures for 2^24 groups beside this node's")

    add = command("distribute", commands.distribute, "pay from the organization's account", "api", "wait")
    add("account", type=ident, metavar="ACCOUNT", help="the payee's id")
    add("amount", type=amount, metavar="AMOUNT")
    add("reason", metavar="REASON", help="announced with it")

    add = command("approve", commands.approve, "list applications, give an applicant an account, or refuse it", "api")
    add("id", type=ident, nargs="?", metavar="ID", help="the applicant's; without it, all are listed")
    add("--role", default="member", choices=("guest", "member", "supervisor"))
    add("--refuse", action="store_true", help="take the application off the list instead")

    add = command("invite", commands.invite, "make an invite for one guest", "api")
    ticks = whole("ticks", 1, INVITE_TICKS_MAX)
    add("--ticks", type=ticks, metavar="N", help="valid for so long (604800)")
    add("--role", default="member", choices=("guest", "member"))

    add = command("invoice", commands.invoice, "make an invoice", "api", "own")
    add("amount", type=whole("amount", 0, SUPPLY_MAX), metavar="AMOUNT", help="0: the payer chooses")
    add("--memo", default="", help="what it is for")
    add("--ticks", type=whole("ticks", 0, _TICKS_MAX), default=0, metavar="N", help="valid for so long (0: for ever)")

    add = command("pay", commands.pay, "pay an invoice", "api", "own", "wait")
    add("invoice", metavar="INVOICE", help="its text, leither:invoice/…")
    add("--amount", type=amount, metavar="N", help="of an invoice that leaves it to the payer")

    add = command("account", commands.account, "show an account, or make a further one", "api")
    add("id", type=ident, nargs="?", metavar="ID", help="this node's first account without it")
    add("--new", action="store_true", help="make one")

    add = command("proof", commands.proof, "prove an account's record", "api")
    add("id", type=ident, nargs="?", metavar="ID", help="this node's first account without it")
    add("--pulse", type=whole("pulse", 0, SUM_MAX), metavar="N", help="as of this pulse (the newest)")
    add("--out", type=Path, metavar="FILE", help="write it there (stdout)")

    add = command("verify", commands.verify, "check a proof: no node, no network")
    add("proof", type=Path, metavar="PROOF.json")
    add("--charter", type=Path, metavar="FILE", help="trust what the organization signed")
    add("--organization-key", metavar="HEX", help="or trust this key")
    add("--roster", metavar="HEX,HEX…", help="and those of the first roster")

    command("status", commands.status, "what the node says of itself", "api")

    top_names, names = (
        names,
        names.add_parser("key", help="take keys out and in").add_subparsers(metavar="export|import", required=True),
    )
    add = command("export", commands.key_export, "write a key down, under a passphrase", "key")
    add("--out", type=Path, metavar="FILE", help="a new file for it (stdout)")
    add = command("import", commands.key_import, "take a key out of an export", "key")
    add("file", type=Path, metavar="FILE", help="the export")
    add("--out", type=Path, metavar="FILE", help="a new file for the key (its place in DIR)")
    names = top_names

    add = command("checkpoint", commands.checkpoint, "sign where the chain stands, as the organization", "api")
    add("--organization-key-file", type=Path, metavar="FILE", help="the key, or an export of it (its place in DIR)")
    add("--passphrase-file", type=Path, metavar="FILE", help="of an export")
    add("--out", type=Path, metavar="FILE", help="keep the checkpoint as JSON too")
    add(
        "--roster",
        nargs="+",
        default=(),
        metavar="NODE",
        help="who seals from now on: the present roster has no quorum",
    )

    add = command("doctor", commands.doctor, "look for what is wrong, and say what to do", "api")
    add("--full", action="store_true", help="execute every retained body again, too")
    return top


def _simulate(args: argparse.Namespace) -> Answer:
    """Many nodes in one process: virtual time, a simulated network, simulated disks."""
    from leither_lite.sim import command

    return Answer(*command.simulate(args))


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, the process' own by default. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without a letter shows its number
    given = sys.argv[1:] if argv is None else argv
    as_json = "--json" in given
    try:
        args = parser().parse_args(given)
        answer = args.does(args)
    except LocalError as error:
        return _fail(_exit_of(error.code), error.code, error.message, as_json)
    except RemoteError as error:
        return _fail(REFUSED, error.reason, error.detail or "it does not hold", as_json)
    except Halt as halt:
        return _fail(HALTED, halt.code, halt.message, as_json)
    except OSError as error:
        return _fail(HALTED, "system", str(error), as_json)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted", "stopped before it was done", as_json)
    return _tell(answer, as_json)


def _exit_of(code: str) -> int:
    return HALTED if code.startswith(_HALTED_HEADS) else _EXIT_OF_CODE.get(code, REFUSED)


def _fail(exit_code: int, code: str, message: str, as_json: bool) -> int:
    if as_json:
        return _tell(Answer({"error": {"code": code, "message": message}}, (), exit_code), as_json)
    say(f"{code}: {message}")
    return exit_code


def _tell(answer: Answer, as_json: bool) -> int:
    """Print an answer. Whoever reads stdout may have gone: that is no error of the command."""
    lines = [json.dumps(answer.value)] if as_json and answer.value else [plain(line) for line in answer.lines]
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
    return answer.code
