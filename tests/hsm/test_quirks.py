"""What is known of single tokens is data, found by the library's own name."""

import pytest

from scepd.hsm.quirks import PORTABLE, quirks_of
from scepd.hsm.signing import _HASHING


@pytest.mark.parametrize("library", ["SoftHSM v2 2.6", "Meta PKCS11 LIBRARY 3.8", "PKCS#11 Kit Proxy Module 1.1", ""])
def test_N1_the_portable_subset_is_the_default(library):
    assert quirks_of(library) is PORTABLE
    assert PORTABLE.hashes is None
    assert PORTABLE.states_usage


def test_N1_a_tpm_hashes_itself_and_takes_no_usage_in_the_public_template():
    tpm = quirks_of("TPM2.0 Cryptoki 1.9")
    assert tpm.hashes == set(_HASHING)
    assert not tpm.states_usage
