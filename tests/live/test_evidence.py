"""A member of the committee that signs two things of which only one may be: everybody gets to know, with the proof, and
the others go on."""

from __future__ import annotations

from pathlib import Path

from leither_lite.edge import keyfile
from leither_lite.node import frames
from leither_lite.pulse.votes import PREVOTE, Vote
from tests.live.harness import command
from tests.live.hostile import Raw
from tests.live.network import HOST, Network, network_of, pay, ran


def newest_vote(raw: Raw) -> Vote:
    """The last that a member hears of the others' votes while something waits for its seal."""
    votes: list[bytes] = []
    while not votes:
        votes = [each for each in raw.listen(0.5) if frames.kind_of(each) == frames.VOTE]
    return Vote.take(frames.one(votes[-1], "bad_frame"))


def speak_twice(network: Network, liar: int) -> str:
    """In the place of a node that does not run, prevote for two headers in one round; the account that did."""
    key = keyfile.load(network.folders[liar] / keyfile.NODE_KEY)
    network_id = bytes.fromhex(network.organization)
    raw = Raw(network_id, key, network.ports[0], HOST)
    for _ in range(20):
        heard = newest_vote(raw)
        for digest in (bytes(32), bytes([1]) * 32):
            vote = Vote.make(network_id, key, heard.place, heard.round, PREVOTE, digest)
            while not raw.push(frames.message_frame(vote)):
                pass
        raw.push()
        if network.nodes[0].status()["evidence"]:
            raw.close()
            return key.account.hex()
    raise AssertionError("nobody has noticed")


def test_a_liar_is_found(tmp_path: Path) -> None:
    """While two of four cannot seal, a third speaks twice: both have it with its proof, and the one that comes back
    makes the quorum that goes on without the liar."""
    with network_of(tmp_path, 4, 200) as network:
        network.kill(2, 3)
        waiting = pay(network, 0, 1, 1, "waits for a quorum")
        liar = speak_twice(network, 3)
        network.wait(lambda: bool(network.nodes[1].status()["evidence"]), "word of it", 1)
        network.restart(2)
        assert network.nodes[0].transfer(waiting)["state"] == "credited"
        for number in (0, 1):
            told = ran("evidence", "--data", network.folders[number])["evidence"]
            assert {(each["account"], each["kind"]) for each in told} == {(liar, "prevote")}
            shown = command("evidence", "--data", network.folders[number]).stdout
            assert shown.startswith(f"{liar}  two prevotes in term ")
            assert network.nodes[number].status()["evidence"] == len(told)
        network.restart(3)
        assert network.nodes[3].transfer(pay(network, 3, 2, 1, "on"))["state"] == "credited"
        network.together()
