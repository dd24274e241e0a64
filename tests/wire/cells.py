"""The algorithm matrix: its values, what each policy says of a cell, and a small choice of cells that has every pair."""

import itertools

import attrs

DIMENSIONS = {
    "digest": ("md5", "sha1", "sha256", "sha384", "sha512"),
    "cipher": ("des", "3des", "aes128", "aes192", "aes256"),
    "transport": ("v1.5", "oaep-sha1", "oaep-sha256", "pwri"),
    "signer": ("rsa", "rsa-pss", "p256", "p384"),
    "policy": ("modern", "legacy"),
}
ELLIPTIC = frozenset({"p256", "p384"})

# What is refused with badAlg, as pairs of dimension and value that meet in one cell; all else gets a certificate.
REFUSED = (
    {"digest": "md5", "policy": "modern"},
    {"digest": "sha1", "policy": "modern"},
    {"cipher": "des", "policy": "modern"},
    {"cipher": "3des", "policy": "modern"},
    # There is no ECDSA with MD5: no OID says it.
    {"digest": "md5", "signer": "p256"},
    {"digest": "md5", "signer": "p384"},
)


@attrs.frozen
class Cell:
    """One combination."""

    digest: str
    cipher: str
    transport: str
    signer: str
    policy: str

    def __str__(self):
        return "-".join(attrs.astuple(self))

    @property
    def refused(self):
        """Whether the policy says badAlg."""
        values = attrs.asdict(self)
        return any(rule.items() <= values.items() for rule in REFUSED)

    @property
    def reply_transport(self):
        """How the reply's content key is protected: mirrored, by password for keys that cannot encrypt."""
        if self.signer in ELLIPTIC:
            return "pwri"
        return "v1.5" if self.transport == "pwri" else self.transport

    @property
    def reply_signature(self):
        """The reply's signature algorithm, by an RSA key: PSS only where the request is PSS."""
        return "rsassa_pss" if self.signer == "rsa-pss" else "rsassa_pkcs1v15"

    @property
    def pairs(self):
        """All pairs of values in this cell."""
        return frozenset(itertools.combinations(attrs.asdict(self).items(), 2))


def every_cell():
    """The full matrix, in its order."""
    return [Cell(*values) for values in itertools.product(*DIMENSIONS.values())]


def pairwise():
    """A few cells in which every two values meet: each time the one with the most pairs that are still missing.

    A pair that a policy accepts somewhere meets in a cell that is accepted, and so does one that is refused.
    """
    rest = {(cell.refused, pair) for cell in every_cell() for pair in cell.pairs}
    candidates = [(cell, {(cell.refused, pair) for pair in cell.pairs}) for cell in every_cell()]
    chosen = []
    while rest:
        cell, covered = max(candidates, key=lambda one: len(one[1] & rest))
        chosen.append(cell)
        rest -= covered
    return chosen
