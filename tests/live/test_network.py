"""Four nodes as processes: how they find together, and that payments among them are final soon, provable, and exact."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from leither_lite.codec import encode
from leither_lite.identity import Key
from leither_lite.node import frames
from leither_lite.organization import SignedCharter
from tests.live.harness import SUPPLY, NodeProcess, balances, command, doctor, found
from tests.live.hostile import Liar
from tests.live.network import HOST, Network, founded, free_port, invoice, network_of, ran
from tests.live.test_payments import proof_of, verified

SEED: Final = 8
AMOUNT: Final = 100_000
PULSE_MS: Final = 1_000
TICKS_MAX: Final = 2
SIZE: Final = 4


class Watch:
    """Listens to a node's events: when each transfer became final, by the test's own clock."""

    def __init__(self, node: NodeProcess) -> None:
        self.final_s: dict[str, float] = {}
        self._changed = threading.Condition()
        self._connection = http.client.HTTPConnection(*node.address, timeout=60)
        token = (node.folder / "api-token").read_text().strip()
        self._connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {token}"})
        self._response = self._connection.getresponse()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        kind = ""
        for line in self._response:
            name, _, told = line.decode().strip().partition(": ")
            if name == "event":
                kind = told
            elif name == "data" and kind == "transfer":
                transfer = json.loads(told)
                with self._changed:
                    if transfer["state"] != "pending":
                        self.final_s.setdefault(transfer["id"], time.monotonic())
                        self._changed.notify_all()

    def await_final(self, name: str, timeout_s: float = 60) -> float:
        """When a transfer became final."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.final_s, timeout_s), f"{name} was never told of"
            return self.final_s[name]


def pay_steadily(network: Network, payer: int, count: int, watch: Watch) -> list[tuple[str, float]]:
    """Payments of a node to the others, each at another moment of the pulse; what each was called, and the seconds from
    its acceptance to the event that says that it is final."""
    draw = random.Random(f"{SEED} {payer}")
    node = network.nodes[payer]
    asked: list[tuple[str, float]] = []
    for number in range(count):
        payee = draw.choice([other for other in range(SIZE) if other != payer])
        told = invoice(network, payee, draw.randrange(1, 100), f"{payer} {number}")
        assert told.status == 201, told
        name = str(node.client.post("/v1/transfers", {"invoice": told.value["invoice"]})["id"])
        asked.append((name, time.monotonic()))
        node.lives_on(draw.uniform(0, 0.4))
    return [(name, watch.await_final(name) - begun_s) for name, begun_s in asked]


def headers_at(node: NodeProcess, pulses: range) -> list[str]:
    """The header that a node has at each pulse, out of a proof."""
    network = node.status()["organization"]
    return [str(json.loads(proof_of(node, network, pulse))["header"]) for pulse in pulses]


def test_four_nodes_pay_one_another(tmp_path: Path, full: bool) -> None:
    """400 payments (80 in the short form): at most 2 ticks to the seal at the 99th percentile, every proof holds for a
    stranger, the supply is there at every pulse, and all nodes have the same chain."""
    print(f"seed {SEED}")
    each = (400 if full else 80) // SIZE
    with network_of(tmp_path, SIZE, PULSE_MS, AMOUNT) as network:
        before = balances(network.nodes[0])
        first = network.nodes[0].status()["pulse"]
        watches = [Watch(node) for node in network.nodes]
        with ThreadPoolExecutor(SIZE) as pool:
            told = list(pool.map(lambda payer: pay_steadily(network, payer, each, watches[payer]), range(SIZE)))
        ticks = sorted(seconds * 1_000 / PULSE_MS for names in told for _, seconds in names)
        percentile = ticks[len(ticks) * 99 // 100 - 1]
        median = ticks[len(ticks) // 2]
        print(f"{len(ticks)} payments, ticks: median {median:.2f}, 99 %: {percentile:.2f}, longest {ticks[-1]:.2f}")

        gains = dict.fromkeys(before, 0)
        for payer, names in enumerate(told):
            for name, _ in names:
                transfer = network.nodes[payer].transfer(name)
                assert transfer["state"] == "credited", transfer
                gains[transfer["payer"]] -= transfer["amount"]
                gains[transfer["payee"]] += transfer["amount"]
        last = network.together()
        expected = {account: amount + gains[account] for account, amount in before.items()}
        assert [balances(node) for node in network.nodes] == [expected] * SIZE

        accounts = sorted(before)
        chains = []
        for node in network.nodes:
            # A node has the proofs of every pulse since it is there, those before the roster of four among them.
            shown = verified(
                network.folders[0],
                [proof_of(node, account, pulse) for pulse in range(first, last + 1) for account in accounts],
            )
            for at in range(0, len(shown), len(accounts)):
                assert sum(one["amount"] for one in shown[at : at + len(accounts)]) == SUPPLY
                assert {one["sum"] for one in shown[at : at + len(accounts)]} == {SUPPLY}
            assert {one["account"]: one["amount"] for one in shown[-len(accounts) :]} == expected
            chains.append(headers_at(node, range(last + 1)))
        assert [chain == chains[0] for chain in chains] == [True] * SIZE
        assert len(set(chains[0])) == last + 1
        shown = verified(network.folders[0], [proof_of(network.nodes[3], accounts[0], pulse) for pulse in range(last)])
        assert [(one["pulse"], one["sum"]) for one in shown] == [(pulse, SUPPLY) for pulse in range(last)]

        proof = tmp_path / "proof.json"
        proof.write_bytes(proof_of(network.nodes[2], network.accounts[3], last))
        done = command("verify", "--charter", network.charter, proof)
        assert done.returncode == 0, done
        assert json.loads(proof.read_bytes())["handovers"], "the charter's roster of one has handed over"

        ended = [node.stop() for node in network.nodes]
        assert [(one.code, one.stderr) for one in ended] == [(0, "")] * SIZE
    assert percentile <= TICKS_MAX
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * SIZE


def refused(*arguments: str | Path) -> str:
    """The code of the error with which a command ends that must not succeed."""
    done = command(*arguments, "--json")
    code = str(json.loads(done.stdout)["error"]["code"])
    assert done.returncode == (2 if code == "bad_link" else 1), done
    return code


def join_refused(link: str, folder: Path, *arguments: str) -> str:
    """The same for `join`, which leaves no ledger then."""
    code = refused("join", link, "--data", folder, *arguments)
    assert not (folder / "ledger.mdb").exists()
    return code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A founder's node and one that has joined by invite, at fast pulses."""
    with founded(tmp_path_factory.mktemp("pair"), 100) as network:
        network.restart(network.join(invited=True))
        network.await_members(1)
        yield network


def test_join_is_refused(pair: Network, tmp_path: Path) -> None:
    """With what is no link, where nobody answers, in a folder that is somebody's, and behind another's address."""
    good = pair.link
    other = found(tmp_path / "other")
    foreign = json.loads((other / "charter.json").read_text())
    assert join_refused(good.replace("leither:", "leiter:"), tmp_path / "a") == "bad_link"
    assert join_refused(good.partition("@")[0], tmp_path / "a") == "bad_link"
    assert join_refused(f"{good},nowhere", tmp_path / "a") == "bad_link"
    assert join_refused(f"leither:{pair.organization}@{HOST}:{free_port()}", tmp_path / "b") == "nobody_answers"
    # Who is there keeps the books of another organization: it cannot even be spoken to.
    behind = good.replace(pair.organization, foreign["organization"])
    assert join_refused(behind, tmp_path / "c") == "nobody_answers"
    assert join_refused(good, tmp_path / "d", "--invite", "leither:invite/none") == "bad_invite"
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "letters.txt").write_text("mine")
    assert join_refused(good, tmp_path / "e") == "folder_not_empty"
    (tmp_path / "f").write_text("")
    assert join_refused(good, tmp_path / "f") == "not_a_folder"
    before = (other / "ledger.mdb").read_bytes()
    done = command("join", good, "--data", other, "--json")
    assert (done.returncode, (other / "ledger.mdb").read_bytes()) == (1, before)


def test_whoever_answers_may_lie(pair: Network, tmp_path: Path) -> None:
    """Who greets well and shows a charter of another organization, one that its key has not signed, or a genesis that
    its roster has not sealed, is not believed; the next address of the link is asked."""
    other = found(tmp_path / "other")
    signed = SignedCharter.from_json(json.loads(pair.charter.read_text())).encode()
    foreign = SignedCharter.from_json(json.loads((other / "charter.json").read_text())).encode()
    changed = signed.replace(b"Test", b"Tess")
    assert changed != signed
    genesis = bytes(300)
    for number, charter in enumerate((foreign, changed, signed)):
        answer = encode([frames.CHARTER, charter, genesis])
        liar = Liar(bytes.fromhex(pair.organization), Key.from_seed(bytes([number]) * 32), answer)
        link = f"leither:{pair.organization}@{liar.address}"
        assert join_refused(link, tmp_path / "a") == "nobody_answers"
        told = ran("join", f"{link},{pair.entry}", "--data", tmp_path / f"b{number}")
        assert told["answered"] == pair.entry
        liar.close()


def test_join_after_a_try_that_failed(pair: Network, tmp_path: Path) -> None:
    """Who was refused for want of an answer may try again in the same folder, with the key that it made."""
    assert join_refused(f"leither:{pair.organization}@{HOST}:{free_port()}", tmp_path / "late") == "nobody_answers"
    key = (tmp_path / "late" / "node.key").read_bytes()
    told = ran(
        "join",
        f"leither:{pair.organization}@{HOST}:{free_port()},{pair.link.partition('@')[2]}",
        "--data",
        tmp_path / "late",
    )
    assert told["answered"] == pair.link.partition("@")[2]
    assert (tmp_path / "late" / "node.key").read_bytes() == key
    pair.wait(
        lambda: told["account"] in [one["id"] for one in ran("approve", "--data", pair.folders[0])["applications"]],
        "it",
    )


def test_an_invite_counts_once(pair: Network, tmp_path: Path) -> None:
    """Whoever comes second with it stays outside."""
    invite = ran("invite", "--data", pair.folders[0])["invite"]
    accounts = []
    for name in ("first", "second"):
        accounts.append(ran("join", pair.link, "--data", tmp_path / name, "--invite", invite)["account"])
        pair.nodes[0].ticks(3)
    known = balances(pair.nodes[0])
    assert [account in known for account in accounts] == [True, False]


def test_commands_of_a_network(pair: Network) -> None:
    """`roster`, `peers`, `evidence`, `status`, for people and for programs."""
    founder, member = pair.accounts
    peers = ran("peers", "--data", pair.folders[0])["peers"]
    assert [(each["account"], each["member"], each["on_roster"]) for each in peers] == [(member, True, False)]
    peers = ran("peers", "--data", pair.folders[1])["peers"]
    assert [(each["account"], each["on_roster"]) for each in peers] == [(founder, True)]
    told = command("peers", "--data", pair.folders[1])
    assert (told.returncode, founder in told.stdout, "on the roster" in told.stdout) == (0, True, True)
    for folder in pair.folders:
        assert [each["account"] for each in ran("roster", "--data", folder)["roster"]] == [founder]
        assert ran("evidence", "--data", folder)["evidence"] == []
        assert command("evidence", "--data", folder).stdout == "no evidence against anybody\n"
        assert f"chief   {founder}" in command("roster", "--data", folder).stdout
    assert [ran("status", "--data", folder)["role"] for folder in pair.folders] == ["chief", "member"]


def test_roster_is_refused(pair: Network) -> None:
    """A number of nodes that makes no committee, one that is not there, and whoever may not name one."""
    founder, member = pair.accounts

    def code(number: int, *nodes: str) -> str:
        return refused("roster", *nodes, "--data", pair.folders[number])

    pulse = pair.together()
    assert code(0, founder, member) == "bad_roster"
    assert code(0, founder, founder, member) == "bad_roster"
    assert code(0, "00" * 20) == "unknown_node"
    assert code(1, member) == "not_permitted"
    for node in pair.nodes:
        node.ticks(3)
    assert pair.together() == pulse
    assert pair.roster(1) == [founder]
