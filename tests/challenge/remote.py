"""What tests of remote methods share: a stage, a clock, questions."""

import os

from scepd.ports import Question
from tests.emulators.reactor import Stage
from tests.store.building import Clock

__all__ = ["CHALLENGE", "Clock", "Stage", "os", "question"]

CHALLENGE = "canary-challenge"


def question(csr, **changes):
    fields = {
        "profile": "routers",
        "transaction_id": "4B2F",
        "message_type": 19,
        "csr": csr,
        "address": "192.0.2.7",
        "request_id": "r1",
        **changes,
    }
    return Question(**fields)
