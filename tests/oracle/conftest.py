"""The same fixtures as the enrolment path's."""

from tests.enroll.conftest import device, keys, oracle, recorded, world

__all__ = ["device", "keys", "oracle", "recorded", "world"]
