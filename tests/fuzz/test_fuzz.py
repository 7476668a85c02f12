"""The fuzzer finds nothing, and finds what is planted. Each run is a process of its own, under its own bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.decoders import DECODERS
from tests.fuzz.plants import PLANTS

ROOT: Final = Path(__file__).parents[2]
SEED: Final = 20_260_101
ADDRESS_SPACE_MB: Final = 512


def run(cases: int, decoder: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A run of the fuzzer on one decoder."""
    options = {"--cases": cases, "--seed": SEED, "--address-space-mb": ADDRESS_SPACE_MB, "--decoder": decoder}
    words = [str(word) for option in options.items() for word in option]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *words, *more], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("decoder", [decoder.name for decoder in DECODERS])
def test_decoder(decoder: str, full: bool) -> None:
    """A value or a RemoteError, and the same bytes again."""
    cases = 100_000 if full else 10_000
    done = run(cases, decoder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {SEED}" in done.stdout
    assert f"{decoder}: {cases} cases, " in done.stdout


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_bug_is_found(plant: str) -> None:
    """By the run that finds nothing without it."""
    decoder, _ = PLANTS[plant]
    done = run(10_000, decoder, "--plant", plant)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{decoder}: FOUND " in done.stdout
