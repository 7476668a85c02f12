"""The fuzzer: `python -m tests.fuzz.run --cases N --seed S --address-space-mb M [--decoder NAME] [--plant NAME]`.

Whatever a decoder is given, it gives a value or raises RemoteError, nothing else; what it takes is written back to the
same bytes, or where a value has many texts, to one that decodes to an equal value. All under a bound on the process'
address space. A run is repeated by its seed. Exit code 1 and the input in hex for what is found.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections import Counter
from contextlib import nullcontext
from random import Random
from time import monotonic
from typing import Final

from leither_lite.errors import RemoteError
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.mutations import mutate_bytes
from tests.fuzz.plants import PLANTS

_SHOWN_BYTES_MAX: Final = 4_096
_CHANGES_MAX: Final = 3


class Found(Exception):
    """An input that broke a property: `what` happened on `encoded`."""

    def __init__(self, what: str, encoded: bytes) -> None:
        super().__init__(what)
        self.what = what
        self.encoded = encoded


def judge(decoder: Decoder, encoded: bytes) -> str:
    """The reason for which `encoded` was refused, "" if it was taken. Raises Found."""
    try:
        try:
            value = decoder.decode(encoded)
        except RemoteError as error:
            return error.reason
        again = decoder.encode(value)
        same = again == encoded if decoder.exact else decoder.decode(again) == value
        sound = decoder.sound(value)
    except Exception as error:  # that is what is looked for
        raise Found(f"{type(error).__name__}: {error}", encoded) from error
    if not same:
        raise Found("taken, but written back differently", encoded)
    if not sound:
        raise Found("taken, but no value of its kind", encoded)
    return ""


def one_case(decoder: Decoder, rng: Random) -> bytes:
    """A seed with a change that knows its form, with a few that do not, or with both."""
    encoded = rng.choice(decoder.seeds)
    kind = rng.randrange(4)
    if kind:
        encoded = decoder.mutate(rng, encoded, decoder.seeds)
    if kind < 2:
        for _ in range(rng.randrange(1, _CHANGES_MAX + 1)):
            encoded = mutate_bytes(rng, encoded, decoder.seeds)
    return encoded


def fuzz(decoder: Decoder, cases: int, seed: int) -> Counter[str]:
    """Runs seeds and cases; tells how often each reason was given. Raises Found."""
    rng = Random(f"{seed}/{decoder.name}")
    for encoded in decoder.seeds:
        if judge(decoder, encoded):
            raise Found("a valid seed is refused", encoded)
    return Counter(judge(decoder, one_case(decoder, rng)) for _ in range(cases))


def main() -> int:
    """Runs the decoders asked for and prints the figures of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="fuzz the decoders")
    parser.add_argument("--cases", type=int, default=10_000, help="for each decoder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--address-space-mb", type=int, default=1_024)
    parser.add_argument("--decoder", choices=[decoder.name for decoder in DECODERS], help="this one alone")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="run with a bug that must be found")
    options = parser.parse_args()
    bound = options.address_space_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    print(f"seed {options.seed}, {options.cases} cases a decoder, {options.address_space_mb} MB of address space")
    failed = False
    with PLANTS[options.plant][1]() if options.plant else nullcontext():
        for decoder in DECODERS:
            if options.decoder not in (None, decoder.name):
                continue
            started = monotonic()
            try:
                reasons = fuzz(decoder, options.cases, options.seed)
            except Found as found:
                failed = True
                shown = found.encoded[:_SHOWN_BYTES_MAX].hex()
                print(f"{decoder.name}: FOUND {found.what}\n  {len(found.encoded)} bytes: {shown}")
                continue
            refused = sum(count for reason, count in reasons.items() if reason)
            print(
                f"{decoder.name}: {options.cases} cases, {reasons['']} taken, {refused} refused "
                f"for {len(reasons) - ('' in reasons)} reasons, {monotonic() - started:.1f} s"
            )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak {peak_mb} MB resident")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
