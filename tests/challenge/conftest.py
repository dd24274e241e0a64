"""A store to look challenges up in, and a maker of CSRs."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.message.csr import Extension, build_csr, parse_csr
from scepd.x509.names import from_text
from tests.store.building import Clock, open_repository, prepare

STORE_KEY = bytes(range(32))


@pytest.fixture(scope="session")
def device_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def csr(device_key):
    """A function that makes the CSR of a device."""

    def make(challenge, subject="O=Example,CN=r1.example.net", key=None, dns=(), tag=12):
        extensions = []
        if dns:
            names = b"".join(b"\x82" + bytes([len(name)]) + name.encode() for name in dns)
            extensions.append(Extension("2.5.29.17", False, b"\x30" + bytes([len(names)]) + names))
        der = build_csr(
            subject=from_text(subject),
            private_key=key or device_key,
            challenge=challenge,
            extensions=extensions,
            challenge_tag=tag,
        )
        return parse_csr(der, longest_challenge=16_384)

    return make


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    prepare(tmp_path)
    repository = open_repository(tmp_path, clock)
    yield repository
    repository.close()
