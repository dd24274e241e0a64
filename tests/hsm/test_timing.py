"""S-11: the time of an unwrapping tells nothing of the padding (dudect's Welch t-test, interleaved classes)."""

import os
import statistics
import time

import pytest

from scepd.message.algorithms import PKCS1V15

from .test_decryption import KEY, Leaky, vectors

SAMPLES = 300 * int(os.environ.get("SCALE", "1"))
CROP = 0.7  # the slowest samples are the machine's, not the key's


def welch(first: list[float], second: list[float]) -> float:
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return (statistics.fmean(first) - statistics.fmean(second)) / spread**0.5


def compare(unwrap, first: bytes, second: bytes) -> float:
    """Return t of the two classes, sampled by turns, each without its slowest part."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * SAMPLES):
        side = (turn ^ turn >> 1) & 1  # first, second, second, first: neither always follows the other
        began = time.perf_counter()
        unwrap((first, second)[side])
        times[side].append(time.perf_counter() - began)
    kept = [sorted(side)[: int(SAMPLES * CROP)] for side in times]
    return abs(welch(*kept))


@pytest.mark.parametrize("bad", ["first byte wrong", "zero too early", "content key of 32", "c = 0", "short"])
def test_S11_good_and_bad_padding_take_the_same_time(bench, bad):
    key = bench.decryption()
    found = vectors(key.public_key)
    measured = [compare(lambda c: key.unwrap(c, PKCS1V15, 16), found["valid"], found[bad]) for _ in range(3)]
    assert min(measured) < 4.5, measured  # a real difference shows every time, a disturbed machine now and then


def test_S11_a_tenth_more_work_for_bad_padding_would_be_seen(bench):
    key = bench.decryption()
    leaky = Leaky(key.public_key, key.operation, key.raw, key.secret)

    def unwrap(ciphertext):
        try:
            leaky.unwrap(ciphertext, PKCS1V15, 16)
        except ValueError:
            end = time.perf_counter() + 80e-6
            while time.perf_counter() < end:
                pass

    found = vectors(key.public_key)
    assert key.unwrap(found["valid"], PKCS1V15, 16) == KEY
    measured = [compare(unwrap, found["valid"], found["zero too early"]) for _ in range(3)]
    assert max(measured) > 4.5, measured
