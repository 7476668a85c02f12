"""The commands: each takes its arguments and gives an answer (docs/cli.md). `cli` reads and prints.

Decides what a command asks of the rooms that carry it out, imported when they are needed, so that `verify` loads
neither the store nor the API. Never does anything twice by itself.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from leither_lite.errors import LocalError

if TYPE_CHECKING:
    from leither_lite.edge.client import Client
    from leither_lite.identity import Key

DONE: Final = 0
REFUSED: Final = 1
API_USUAL: Final = "127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answers: one JSON object, the same as lines for people, and the exit code."""

    value: dict[str, Any]
    lines: Sequence[str]
    code: int = DONE


class Progress:
    """Says on stderr where a command is, once it has taken more than a second, and then once a second at most."""

    def __init__(self) -> None:
        self._due_s = time.monotonic() + 1

    def __call__(self, text: str) -> None:
        """Tell where the command is."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + 1
            say(text)


def say(text: str) -> None:
    """A line on stderr."""
    print(f"leither-lite: {plain(text)}", file=sys.stderr, flush=True)


def plain(text: object) -> str:
    """Text as a terminal may have it: whoever wrote a memo or a name cannot move its cursor."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in str(text))


def _table(value: dict[str, Any]) -> list[str]:
    """Names and values in two columns, without those that are None."""
    width = max(map(len, value), default=0)
    return [f"{name:{width}}  {_told(told)}" for name, told in value.items() if told is not None]


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(told)}".rstrip() for name, told in value.items())
    return str(value)


def _client(args: Namespace) -> Client:
    from leither_lite.edge.client import Client

    return Client.of(args.data, args.api)


def found(args: Namespace) -> Answer:
    """Keys, token, charter, genesis."""
    from leither_lite.edge import founding

    parameters = {name: getattr(args, name) for name in ("roster_max", "group_max", "term_ticks")}
    signed = founding.found(args.data, args.name, args.supply, args.pulse_ms, **parameters)
    value = {"data": str(args.data), **signed.to_json()}
    lines = [
        f"founded {args.name}: organization {value['organization']}, supply {args.supply}",
        f"its keys are in {args.data}: export them, and keep the organization's elsewhere (leither-lite key export)",
    ]
    return Answer(value, lines)


def run(args: Namespace) -> Answer:
    """The node itself, until it is stopped."""
    from leither_lite.edge import service
    from leither_lite.edge.client import parse_address

    listen = None if args.listen is None else parse_address(args.listen)
    if args.announce is not None:
        if listen is None:
            raise LocalError("usage", "--announce goes with --listen: nobody reaches a node that does not listen")
        parse_address(args.announce)
    places = service.Places(listen, args.announce, parse_address(args.api or API_USUAL))
    code = service.run(args.data, places, args.restored, args.board)
    return Answer({}, (), code)


def join(args: Namespace) -> Answer:
    """A folder of an organization that others keep."""
    from leither_lite.edge import joining

    signed, key, address = joining.join(args.data, joining.Link.parse(args.link), args.memo, args.invite)
    value = {"data": str(args.data), "account": key.account.hex(), "answered": address, **signed.to_json()}
    lines = [
        f"joining {signed.charter.name}: organization {value['organization']}",
        f"account {value['account']}: "
        + ("applied by invite" if args.invite else "applied; a supervisor must approve"),
        f"its key is in {args.data}: export it (leither-lite key export), then leither-lite run --data {args.data}",
    ]
    return Answer(value, lines)


def roster(args: Namespace) -> Answer:
    """Who seals, or who is to."""
    if args.force and not args.node:
        raise LocalError("usage", "--force is for naming a roster: give its nodes")
    client = _client(args)
    if args.node:
        value = client.post("/v1/roster", {"roster": args.node, "force": True if args.force else None})
        return Answer(value, ["named: the header after the next is sealed by", *value["roster"]])
    value = client.get("/v1/roster")
    names = ["chief", *("backup" for _ in value["roster"][1:])]
    lines = [f"{name:7} {each['account']}  {each['key']}" for name, each in zip(names, value["roster"], strict=True)]
    lines += [f"holds   {each['key']}  {each['address'] or 'dials out'}" for each in value["willing"]]
    return Answer(value, lines)


def peers(args: Namespace) -> Answer:
    """Who is connected."""
    value = _client(args).get("/v1/peers")
    lines = [
        f"{each['account']}  pulse {each['pulse']}  "
        + ("on the roster" if each["on_roster"] else "member" if each["member"] else "stranger")
        for each in value["peers"]
    ]
    return Answer(value, lines or ["nobody is connected"])


def evidence(args: Namespace) -> Answer:
    """Who has signed two things of which only one may be."""
    value = _client(args).get("/v1/evidence")
    lines = [f"{each['account']}  two {each['kind']}s in term {each['term']}" for each in value["evidence"]]
    return Answer(value, lines or ["no evidence against anybody"])


def distribute(args: Namespace) -> Answer:
    """From the organization's account."""
    client = _client(args)
    body = {"account": args.account, "amount": args.amount, "reason": args.reason}
    return _sealed(client, client.post("/v1/distributions", body, args.idempotency_key), args.wait)


def pay(args: Namespace) -> Answer:
    """An invoice."""
    client = _client(args)
    body = {"invoice": args.invoice, "amount": args.amount, "account": args.account}
    return _sealed(client, client.post("/v1/transfers", body, args.idempotency_key), args.wait)


def _sealed(client: Client, accepted: dict[str, Any], wait_s: int) -> Answer:
    """The transfer once it is sealed; as it was accepted where nobody waits."""
    if not wait_s:
        return Answer(accepted, [f"accepted: transfer {accepted['id']} waits for its seal"])
    transfer = client.transfer_sealed(accepted["id"], wait_s, Progress())
    if transfer["state"] == "refused":
        raise LocalError(str(transfer["reason"]), f"the ledger refused transfer {accepted['id']} when it was sealed")
    value = {**transfer, "repeated": accepted.get("repeated", False)}
    lines = [f"{transfer['state']} in pulse {transfer['pulse']}: transfer {transfer['id']}"]
    if value["repeated"]:
        lines.append("it was paid before; nothing was paid again")
    return Answer(value, lines)


def approve(args: Namespace) -> Answer:
    """Who waits for an account, or an account for one of them, or none."""
    if args.refuse and args.id is None:
        raise LocalError("usage", "--refuse is for one applicant: give the id")
    client = _client(args)
    if args.refuse:
        return Answer(client.post(f"/v1/applications/{args.id}/refuse", {}), [f"refused: {args.id}"])
    if args.id is not None:
        value = client.post(f"/v1/applications/{args.id}/approve", {"role": args.role})
        return Answer(value, [f"approved: account {args.id} is a {args.role} with the next seal"])
    value = client.get("/v1/applications")
    lines = [f"{waiting['id']}  {waiting['memo']}" for waiting in value["applications"]]
    return Answer(value, lines or ["nobody is waiting"])


def invite(args: Namespace) -> Answer:
    """For one guest, once."""
    value = _client(args).post("/v1/invites", {"ticks": args.ticks, "role": args.role})
    return Answer(value, [value["invite"]])


def invoice(args: Namespace) -> Answer:
    """To be paid by whoever is given its text."""
    body = {"amount": args.amount, "memo": args.memo, "ticks": args.ticks, "account": args.account}
    value = _client(args).post("/v1/invoices", body)
    return Answer(value, [value["invoice"]])


def account(args: Namespace) -> Answer:
    """One account, or a further one."""
    if args.new and args.id is not None:
        raise LocalError("usage", "--new makes an account, and an ID names one: give one of them")
    client = _client(args)
    value = client.post("/v1/accounts", {"memo": ""}) if args.new else client.get("/v1/account", account=args.id)
    return Answer(value, _table(value))


def proof(args: Namespace) -> Answer:
    """What `verify` takes."""
    client = _client(args)
    name = args.id or client.get("/v1/account")["account"]
    query = "" if args.pulse is None else f"?pulse={args.pulse}"
    content: bytes = client.content(f"/v1/accounts/{name}/proof{query}")
    if args.out is None:
        return Answer(json.loads(content), [content.decode("ascii").rstrip("\n")])
    _write(args.out, content)
    return Answer({"account": name, "file": str(args.out)}, [f"the proof of {name} is in {args.out}"])


def verify(args: Namespace) -> Answer:
    """With two files, and nothing else."""
    from leither_lite.edge import verifying

    if args.charter is not None and (args.organization_key, args.roster) == (None, None):
        trust = verifying.trust_in_charter(args.charter)
    elif args.charter is None and args.organization_key is not None and args.roster is not None:
        trust = verifying.trust_in_keys(args.organization_key, args.roster)
    else:
        raise LocalError("usage", "give --charter FILE, or --organization-key HEX and --roster HEX,HEX…")
    value = verifying.verify_file(args.proof, trust)
    told = {name: value[name] for name in ("account", "organization")} | value.get("record", {"record": "absent"})
    told |= {"leaf pulse": value.get("leaf_pulse"), "pulse": value["pulse"], "age of trust": f"{value['age']} pulses"}
    return Answer(value, ["the proof holds", *_table(told)])


def status(args: Namespace) -> Answer:
    """What the node says of itself."""
    value = _client(args).get("/v1/status")
    reasons = [f"{reason['code']}: {reason['message']}" for reason in value.get("reasons", [])]
    told = {name: shown for name, shown in value.items() if name != "reasons"}
    return Answer(value, _table(told) + reasons)


def key_export(args: Namespace) -> Answer:
    """A key under a passphrase."""
    from leither_lite.edge import keyfile, passphrase

    key = keyfile.load(args.data / (keyfile.ORGANIZATION_KEY if args.organization else keyfile.NODE_KEY))
    secret = passphrase.choose(args.passphrase_file)
    say("deriving a key from the passphrase: that takes seconds on a small board")
    content = keyfile.export(key, secret)
    value = {"public_key": key.public.hex(), "account": key.account.hex()}
    if args.out is None:
        text = content.decode("ascii")
        return Answer({**value, "export": text}, text.splitlines())
    keyfile.write_export(args.out, content)
    return Answer({**value, "file": str(args.out)}, [f"the key of {key.account.hex()} is in {args.out}"])


def key_import(args: Namespace) -> Answer:
    """A key out of an export, into a new file."""
    from leither_lite.edge import keyfile

    path = args.out or args.data / (keyfile.ORGANIZATION_KEY if args.organization else keyfile.NODE_KEY)
    keyfile.refuse_existing(path)
    key = _imported(keyfile.read_export(args.file), args.passphrase_file)
    keyfile.store(path, key)
    value = {"public_key": key.public.hex(), "account": key.account.hex(), "file": str(path)}
    return Answer(value, [f"the key of {key.account.hex()} is in {path}"])


def _imported(content: bytes, passphrase_file: Path | None) -> Key:
    from leither_lite.edge import keyfile, passphrase

    secret = passphrase.ask(passphrase_file)
    say("deriving a key from the passphrase: that takes seconds on a small board")
    return keyfile.import_(content, secret)


def checkpoint(args: Namespace) -> Answer:
    """The organization's signature on where the chain stands."""
    from leither_lite.edge import checkpoints, keyfile

    client = _client(args)
    path = args.organization_key_file or args.data / keyfile.ORGANIZATION_KEY
    content = b"" if args.organization_key_file is None else keyfile.read_export(path)
    key = keyfile.load(path) if not keyfile.is_export(content) else _imported(content, args.passphrase_file)
    signed, taken = checkpoints.sign_newest(client, key, args.roster)
    if args.out is not None:
        _write(args.out, json.dumps(signed, indent=2).encode("ascii") + b"\n")
    return Answer({**signed, **taken}, [f"signed pulse {signed['pulse']}, digest {signed['digest']}"])


def doctor(args: Namespace) -> Answer:
    """What is wrong, and what to do."""
    from dataclasses import asdict

    from leither_lite.edge.doctor import examine

    findings = examine(args.data, args.api, args.full, Progress())
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:7}  {finding.code}: {finding.message}")
        lines += [f"         -> {finding.action}"] if finding.action else []
    counts = {level: sum(finding.level == level for finding in findings) for level in ("ok", "warning", "error")}
    lines.append(f"{counts['error']} errors, {counts['warning']} warnings")
    value = {"findings": [asdict(finding) for finding in findings], "errors": counts["error"]}
    return Answer(value, lines, REFUSED if counts["error"] else DONE)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise LocalError("unwritable_file", f"{path} cannot be written: {error.strerror}") from None
