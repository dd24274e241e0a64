"""Methods that are asked over the network: between two hops, in the profile's order, failing closed."""

from datetime import timedelta

import attrs
import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from scepd.challenge.order import RemotePlace
from scepd.enroll.answer import Answerer
from scepd.enroll.suspended import COMPLIANCE
from scepd.profile.access import WebhookRule
from scepd.profile.model import ApprovalRule, RenewalRule
from scepd.records import Identity, Secret, TransactionState
from scepd.refusal import Reason, Reject, Unavailable
from tests import make
from tests.enroll.conftest import Device
from tests.enroll.test_answer import OneLane
from tests.enroll.test_renewal import Holder
from tests.world import ORIGIN, STATIC, default_profile, make_world

HOOK = WebhookRule(
    url="https://mdm.example.net/scep", secret=Secret("s" * 32), trust_pem=b"", timeout=timedelta(seconds=5)
)
KNOWN = Identity("webhook", "device 7")


@attrs.define
class Asked:
    """A remote method whose answer a test holds in its hand."""

    verdict: object = None
    questions: list = attrs.field(factory=list)
    waiting: Deferred | None = None
    name: str = "webhook"

    async def ask(self, question):
        self.questions.append(question)
        if self.waiting is not None:
            await self.waiting
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


class Site:
    """A world whose profile has a remote method, before or behind its local ones."""

    def __init__(self, keys, tmp_path, remote, *, place=0, compliance=None, rule=HOOK, compliance_rule=None, **changes):
        local = default_profile().challenge
        profile = default_profile(
            challenge=(*local[:place], rule, *local[place:]),
            compliance=None if compliance is None else compliance_rule or rule,
            **changes,
        )
        self.world = make_world(keys, tmp_path, profiles=[profile])
        self.device = Device(self.world)
        remotes = {place: remote} | ({} if compliance is None else {COMPLIANCE: compliance})
        self.clock = Clock()
        self.answerer = Answerer(OneLane(self.world.context), self.clock, remotes={"default": remotes})

    def begin(self, body):
        answers = []
        ensureDeferred(self.answerer.answer(self.world.profiles["default"], body, ORIGIN)).addCallback(answers.append)
        return answers

    def send(self, body):
        (answer,) = self.begin(body)
        return answer


@pytest.fixture
def site(keys, tmp_path):
    return lambda remote, **fields: Site(keys, tmp_path, remote, **fields)


def test_the_tests_world_has_the_place_of_a_remote_method(site):
    assert site(Asked()).world.context.challenges["default"][0] == RemotePlace("webhook")


def test_P5_who_is_known_outside_gets_a_certificate(site):
    remote = Asked(KNOWN)
    site = site(remote)
    answer = site.send(site.device.request(challenge="theirs"))
    assert answer.outcome == "issued"
    [question] = remote.questions
    assert (question.profile, question.address, question.request_id) == ("default", ORIGIN.address, ORIGIN.request_id)
    assert question.csr.challenge == Secret("theirs")
    [transaction] = site.world.store.transactions()
    assert transaction.identity.method == "webhook"
    assert "asked" in [step.name for step in transaction.trail]


def test_S111_nothing_is_signed_of_what_was_asked_before_the_clock_jumped(site):
    halted = []

    def admit():
        if halted:
            raise Unavailable("the clock jumped ahead", retry_after=60)

    remote = Asked(KNOWN, waiting=Deferred())
    site = site(remote)
    site.answerer._admit = admit
    body = site.device.request(challenge="theirs")
    answers = site.begin(body)
    halted.append(True)
    remote.waiting.callback(None)
    assert [(answer.status, answer.detail) for answer in answers] == [(503, "the clock jumped ahead")]
    assert site.world.store.transactions() == []
    halted.clear()
    assert site.send(body).outcome == "issued"


def test_P5_who_is_not_known_outside_is_asked_of_the_methods_that_follow(site):
    site = site(Asked(None))
    assert site.send(site.device.request(challenge="wrong")).reason == "challenge_invalid"
    assert site.send(site.device.request(challenge=STATIC, transaction_id="b")).outcome == "issued"


def test_P5_the_profiles_order_decides_who_is_asked(site):
    remote = Asked(KNOWN)
    site = site(remote, place=2)
    assert site.send(site.device.request(challenge=STATIC)).outcome == "issued"
    assert remote.questions == []
    assert site.send(site.device.request(challenge="theirs", transaction_id="b")).outcome == "issued"
    assert len(remote.questions) == 1


def test_P5_a_definite_no_is_a_no_whatever_follows(site):
    site = site(Asked(Reject(Reason.challenge_backend_denied, "device unknown")))
    answer = site.send(site.device.request(challenge=STATIC))
    assert (answer.reason, answer.fail_info) == ("challenge_backend_denied", "badRequest")
    assert site.world.issued() == []


def test_P5_no_answer_is_503_and_never_a_certificate(site):
    site = site(Asked(Unavailable("webhook: no answer within 5 s", retry_after=7)))
    answer = site.send(site.device.request(challenge=STATIC))
    assert (answer.status, answer.retry_after, answer.detail) == (503, 7, "webhook: no answer within 5 s")
    assert site.world.store.transactions() == []


def test_P5_no_answer_leaves_the_decision_to_a_person_where_the_profile_says_so(site):
    site = site(Asked(Unavailable("down")), rule=attrs.evolve(HOOK, on_failure="pending"))
    body = site.device.request(challenge="theirs")
    assert site.send(body).outcome == "pending"
    [transaction] = site.world.store.transactions()
    assert transaction.identity == Identity("webhook", "undecided")
    assert site.send(body).outcome == "pending"
    site.world.store.decide(transaction.id, approve=True, who="test")
    assert site.send(site.device.poll()).outcome == "issued"


def test_nobody_is_asked_before_the_writer_is_proved(site):
    remote = Asked(KNOWN)
    site = site(remote)
    stranger = make.party("stranger")
    body = site.device.request(challenge=STATIC, signer=stranger, private_key=make.device().key)
    response = site.begin(body)
    assert response == []  # the uniform answers wait for their slot
    assert remote.questions == []


def test_what_is_on_record_is_not_asked_again(site):
    remote = Asked(KNOWN)
    site = site(remote)
    body = site.device.request(challenge="theirs")
    assert [site.send(body).again for _ in range(2)] == [False, True]
    assert len(remote.questions) == 1


def test_while_one_waits_for_its_answer_others_are_served(site):
    remote = Asked(KNOWN, waiting=Deferred())
    site = site(remote, place=2)
    slow = site.begin(site.device.request(challenge="theirs"))
    quick = site.send(site.device.request(challenge=STATIC, signer=make.party("quick"), transaction_id="b"))
    assert (slow, quick.outcome) == ([], "issued")
    remote.waiting.callback(None)
    assert [answer.outcome for answer in slow] == ["issued"]


def test_two_answers_for_one_request_issue_one_certificate(site):
    remote = Asked(KNOWN, waiting=Deferred())
    site = site(remote)
    body = site.device.request(challenge="theirs")
    first, second = site.begin(body), site.begin(body)
    remote.waiting.callback(None)
    assert [answer.outcome for answer in first + second] == ["issued", "issued"]
    assert len(site.world.issued()) == 1


def test_C10_the_compliance_of_who_is_known_is_asked_before_issuing(site):
    hook = Asked(None)
    site = site(Asked(KNOWN), compliance=hook)
    assert site.send(site.device.request(challenge="theirs")).outcome == "issued"
    assert [question.identity for question in hook.questions] == [KNOWN]
    local = site.send(site.device.request(challenge=STATIC, transaction_id="b", signer=make.party("b")))
    assert local.outcome == "issued"
    assert len(hook.questions) == 2


def test_C10_who_is_not_compliant_gets_nothing(site):
    site = site(Asked(None), compliance=Asked(Reject(Reason.compliance_denied, "jailbroken")))
    answer = site.send(site.device.request(challenge=STATIC))
    assert (answer.reason, site.world.issued()) == ("compliance_denied", [])


def test_C10_no_answer_about_compliance(site):
    site = site(Asked(None), compliance=Asked(Unavailable("down")))
    assert site.send(site.device.request(challenge=STATIC)).status == 503


def test_C10_no_answer_about_compliance_may_be_a_persons_business(site):
    site = site(Asked(None), compliance=Asked(Unavailable("down")), rule=attrs.evolve(HOOK, on_failure="pending"))
    assert site.send(site.device.request(challenge=STATIC)).outcome == "pending"
    [transaction] = site.world.store.transactions()
    assert transaction.identity.method == "static"


PATIENT = attrs.evolve(HOOK, on_failure="pending")


def test_C10_compliance_is_asked_before_a_person_decides_in_place_of_the_challenge_service(site):
    hook = Asked(None)
    site = site(Asked(Unavailable("down")), compliance=hook, rule=PATIENT)
    body = site.device.request(challenge="theirs")
    assert site.send(body).outcome == "pending"
    [question] = hook.questions
    assert question.identity is None  # nobody is known
    [transaction] = site.world.store.transactions()
    assert transaction.identity == Identity("webhook", "undecided")
    assert [step.name for step in transaction.trail].count("asked") == 2
    assert site.send(body).outcome == "pending"
    assert len(hook.questions) == 1
    site.world.store.decide(transaction.id, approve=True, who="test")
    assert site.send(site.device.poll()).outcome == "issued"


def test_C10_who_is_not_compliant_is_left_to_no_person(site):
    denied = Reject(Reason.compliance_denied, "jailbroken")
    site = site(Asked(Unavailable("down")), compliance=Asked(denied), rule=PATIENT)
    assert site.send(site.device.request(challenge="theirs")).reason == "compliance_denied"
    assert [t for t in site.world.store.transactions() if t.state is TransactionState.PENDING] == []


@pytest.mark.parametrize(("rule", "status", "outcome"), [(HOOK, 503, "unavailable"), (PATIENT, 200, "pending")])
def test_C10_where_both_services_are_down_the_compliance_hooks_own_rule_decides(site, rule, status, outcome):
    down = Asked(Unavailable("compliance is down"))
    site = site(Asked(Unavailable("down")), compliance=down, rule=PATIENT, compliance_rule=rule)
    answer = site.send(site.device.request(challenge="theirs"))
    assert (answer.status, answer.outcome) == (status, outcome)
    assert len(down.questions) == 1
    assert [t.identity.name for t in site.world.store.transactions()] == ["undecided"] * (outcome == "pending")


def test_C10_renewals_are_asked_for_too(site):
    hook = Asked(None)
    site = site(Asked(None), compliance=hook, renewal=RenewalRule(earliest=0))
    holder = Holder.__new__(Holder)
    Device.__init__(holder, site.world)
    leaf = site.send(site.device.request(challenge=STATIC))
    assert leaf.outcome == "issued"
    holder.held = holder.party(make.device(), site.world.issued()[0].der)
    assert site.send(holder.renewal()).outcome == "issued"
    assert hook.questions[-1].renews == site.world.issued()[-1].serial


def test_C172_a_renewal_may_need_the_remote_challenge_as_well(site):
    remote = Asked(KNOWN)
    site = site(remote, renewal=RenewalRule(earliest=0, challenge="required"))
    assert site.send(site.device.request(challenge="theirs")).outcome == "issued"
    holder = Holder.__new__(Holder)
    Device.__init__(holder, site.world)
    holder.held = holder.party(make.device(), site.world.issued()[0].der)
    assert site.send(holder.renewal(challenge="again")).outcome == "issued"
    assert len(remote.questions) == 2


def test_a_rule_of_approval_counts_after_the_answer(site):
    site = site(Asked(KNOWN), approval=ApprovalRule())
    assert site.send(site.device.request(challenge="theirs")).outcome == "pending"


def test_C108_a_bare_request_cannot_wait_for_an_answer_from_outside(site):
    site = site(Asked(KNOWN))
    answers = []
    body = make.csr(challenge="theirs")
    raw = site.answerer.answer_raw(site.world.profiles["default"], body, ORIGIN)
    ensureDeferred(raw).addCallback(answers.append)
    assert [(answer.status, answer.reason) for answer in answers] == [(403, "challenge_invalid")]


def test_a_lane_that_owes_finishes_before_it_goes_on(site):
    remote = Asked(KNOWN, waiting=Deferred())
    site = site(remote)
    answers = site.begin(site.device.request(challenge="theirs"))
    site.world.context.owes = True
    remote.waiting.callback(None)
    assert answers[0].outcome == "issued"
    assert not site.world.context.owes
