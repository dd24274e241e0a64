"""Bundles of configuration switches by device family; a profile names one and may change any of it.

The reasons for each switch are in the manual, docs/protocol.md, section "Presets".
"""

from collections.abc import Mapping
from types import MappingProxyType

# Clients of the drafts, from before RFC 8894's words: failInfoText, SHA-384 and the end of GetCACertChain.
_DRAFT = {
    "omit_fail_info_text": True,
    "advertise_sha384": False,
    "ca_certificate_chain": True,
    "verisign_extension_request": True,
}
_CISCO_SUBJECT = {
    "allow": ["CN", "O", "OU", "C", "ST", "L", "serialNumber", "unstructuredName", "unstructuredAddress"],
}

# Keys are keys of a [profile.NAME] table; "default" is what a profile gets that names none.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "default": MappingProxyType({}),
        # For clients written against RFC 8894: nothing is there only for older ones.
        "modern": MappingProxyType(
            {"strict_nonce": True, "omit_empty_content": True, "unknown_extensions": "refuse"},
        ),
        "cisco-ios": MappingProxyType(
            {"include_chain": "issuer", "subject": _CISCO_SUBJECT, "names": {"copy": ["unstructuredName"]}},
        ),
        "cisco-ios-legacy": MappingProxyType(
            {
                **_DRAFT,
                "include_chain": "issuer",
                "subject": _CISCO_SUBJECT,
                "names": {"copy": ["unstructuredName"]},
                "insecurely_accept_md5": True,
                "insecurely_accept_sha1": True,
                "insecurely_accept_des": True,
                "insecurely_accept_3des": True,
            },
        ),
        "cisco-pix": MappingProxyType(
            {
                **_DRAFT,
                "include_chain": "issuer",
                "subject": _CISCO_SUBJECT | {"required": ["CN"]},
                "names": {"copy": ["unstructuredName", "CN"], "required": ["dns"]},
                "insecurely_accept_md5": True,
                "insecurely_accept_sha1": True,
                "insecurely_accept_des": True,
                "insecurely_accept_3des": True,
                "insecurely_accept_small_rsa": True,
            },
        ),
        "juniper": MappingProxyType({**_DRAFT, "include_chain": "none"}),
        "apple": MappingProxyType({"include_chain": "none", "advertise_sha384": False}),
        "windows": MappingProxyType({"backdate": "1h", "signing_time": {"renewal_skew": "72h"}}),
        "chromeos": MappingProxyType({"include_chain": "issuer"}),
        "sscep": MappingProxyType({"advertise_sha384": False, "include_chain": "issuer"}),
        "mobileiron": MappingProxyType({"serve_root": False, "include_chain": "issuer"}),
    },
)
