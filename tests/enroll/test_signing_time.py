"""The signingTime attribute: ignored where devices have no clock, judged where they must have one (C-238, C-239)."""

from datetime import timedelta

import pytest

from scepd.profile.model import RenewalRule, SigningTimeRule
from tests.enroll.conftest import Device
from tests.enroll.test_renewal import Holder
from tests.world import NOW, default_profile, make_world

REFUSED = ("signing_time_refused", "badTime", "signing time not accepted")
HOUR = timedelta(hours=1)


def device_of(keys, tmp_path, rule):
    return Device(make_world(keys, tmp_path, profiles=[default_profile(signing_time=rule)]))


@pytest.mark.parametrize("moment", [None, NOW - timedelta(days=9999), NOW + timedelta(days=9999)])
def test_C238_by_default_a_first_request_may_come_from_a_device_without_a_clock(device, moment):
    assert device.enrol(signing_time=moment)


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_C238_a_profile_may_hold_the_time_against_its_own(keys, tmp_path, off):
    device = device_of(keys, tmp_path, SigningTimeRule(skew=HOUR))
    second = timedelta(seconds=1) if off > timedelta() else -timedelta(seconds=1)
    assert device.refusal(device.request(signing_time=NOW + off + second)) == REFUSED
    assert device.enrol(signing_time=NOW + off)


def test_C239_a_profile_may_want_a_time(keys, tmp_path):
    device = device_of(keys, tmp_path, SigningTimeRule(required=True))
    assert device.refusal(device.request(signing_time=None)) == REFUSED
    assert device.enrol(signing_time=NOW - timedelta(days=9999))


def test_C238_a_renewal_is_signed_within_a_day_of_now(keys, tmp_path):
    holder = Holder(make_world(keys, tmp_path, profiles=[default_profile(renewal=RenewalRule(earliest=0))]))
    late = timedelta(hours=24, seconds=1)
    assert holder.refusal(holder.renewal(signing_time=NOW - late)) == REFUSED
    assert holder.renew(signing_time=NOW - late + timedelta(seconds=1))


def test_C241_the_time_comes_after_algorithm_and_signature_and_before_the_type(keys, tmp_path):
    device = device_of(keys, tmp_path, SigningTimeRule(skew=HOUR))
    late = {"signing_time": NOW - timedelta(days=1)}
    assert device.refusal(device.request(message_type=18, **late)) == REFUSED
