"""The only code that changes anything on a person's word; CLI, API and UI are its skins."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import attrs

from scepd.admin.binding import Binding, bound_common_name
from scepd.admin.binding import checked as check_binding
from scepd.admin.scope import Scope
from scepd.admin.vouching import refusal_hint, refused_names
from scepd.challenge.digest import keyed_digest, new_challenge
from scepd.challenge.passwords import seal
from scepd.ports import Clock
from scepd.profile.model import OneTimeRule, Profile
from scepd.records import (
    Certificate,
    Challenge,
    Refusal,
    Revocation,
    RevocationReason,
    Secret,
    Transaction,
    TransactionState,
)
from scepd.refusal import OperatorError
from scepd.store.repository import Repository

PAGE = 200  # rows of a list
_SEARCHED = 10_000  # newest rows among which a name is looked for


_WAITING = "scepd request list --state pending"


class NotFound(OperatorError):  # noqa: N818 - an answer of the API
    """There is no such thing."""


@attrs.frozen
class NewChallenge:
    """A challenge just made: the only moment at which its text exists outside the hands of the person who asked."""

    id: int
    profile: str
    challenge: Secret
    expires: datetime
    uses: int


@attrs.frozen
class Ending:
    """How a certificate shall end: why, of which issuer where several have its serial, since when it is not to be trusted."""

    reason: RevocationReason = RevocationReason.unspecified
    issuer: str | None = None
    invalid_since: datetime | None = None


@attrs.frozen
class Actions:
    """What people can do; `who` of each change goes into the audit row, which the store writes with the change."""

    repository: Repository
    profiles: Mapping[str, Profile]
    store_key: bytes
    clock: Clock
    random: Callable[[int], bytes]
    scope: Scope = attrs.field(factory=Scope)

    def within(self, profiles: frozenset[str]) -> "Actions":
        """Return the actions of somebody who administers these profiles alone."""
        kept = {name: profile for name, profile in self.profiles.items() if name in profiles}
        return attrs.evolve(self, profiles=kept, scope=Scope(profiles))

    def profile(self, name: str) -> Profile:
        """Return a profile by its name; raises `NotFound`."""
        if name not in self.profiles:
            raise NotFound(f"there is no profile {name!r}", f"one of: {', '.join(sorted(self.profiles))}")
        return self.profiles[name]

    def new_challenge(self, who: str, profile: str, binding: Binding) -> NewChallenge:
        """Make a one-time challenge; raises `OperatorError` where the profile takes none or the binding is no good."""
        rule = self._one_time_rule(profile)
        checked = check_binding(binding)
        for problem in refused_names(self.scope, self.profile(profile), checked.names, bound_common_name(checked)):
            raise OperatorError(problem, refusal_hint(self.profile(profile)))
        expires = self.clock.now() + (checked.valid or rule.valid)
        secret = new_challenge(self.random)
        row = self.repository.add_challenge(
            profile,
            keyed_digest(self.store_key, secret.reveal()),
            expires=expires,
            created_by=who,
            common_name=checked.common_name,
            names=checked.names,
            subject=checked.subject,
            key_type=checked.key_type,
            uses=checked.uses,
            sealed=self._sealed(profile, secret),
        )
        return NewChallenge(row.id, profile, secret, row.expires, row.uses)

    def _sealed(self, profile: str, secret: Secret) -> bytes | None:
        """Return what is kept of a challenge to encrypt with, only where messages under a password are taken."""
        if not self.profiles[profile].password_encryption:
            return None
        return seal(self.store_key, secret, profile=profile, random=self.random)

    def cancel_challenge(self, who: str, number: int) -> None:
        """Make a challenge worthless; raises `OperatorError` where it is spent, cancelled, in use or unknown."""
        found = self.repository.challenge(number)
        if found is None or not self.scope.has(found.profile):
            raise NotFound(f"there is no challenge {number}", "scepd challenge list")
        if self.repository.cancel_challenge(number, cancelled_by=who):
            return
        found = self.repository.challenge(number) or found
        raise OperatorError(f"challenge {number} is {found.state.value}", "scepd challenge list")

    def challenges(self, profile: str | None = None, limit: int = PAGE) -> Sequence[Challenge]:
        """Return the challenges, newest first."""
        return self.scope.newest(lambda of: self.repository.challenges(profile=of, limit=limit), profile, limit)

    def certificates(self, subject: str | None = None, limit: int = PAGE) -> Sequence[Certificate]:
        """Return the certificates, newest first; `subject` is a part of it, in any case."""
        found = self.repository.certificates
        return self.scope.newest(lambda of: found(profile=of, subject=subject, limit=limit), None, limit)

    def certificate(self, serial: int, issuer: str | None = None) -> Certificate:
        """Return the certificate of that serial.

        Raises `OperatorError` where there is none, or several issuers have one.
        """
        known = self.scope.of(self.repository.certificates(serial=serial))
        found = [one for one in known if issuer in (None, one.issuer)]
        if not found:
            raise NotFound(f"there is no certificate {serial:x}", "scepd cert list")
        if len(found) > 1:
            raise OperatorError(f"several issuers have a certificate {serial:x}", f"--issuer {found[0].issuer}")
        return found[0]

    def revoke_certificate(self, who: str, serial: int, ending: Ending) -> Certificate:
        """Revoke a certificate now; raises `OperatorError` where it is revoked for good, or the time is in the future."""
        now = self.clock.now()
        if ending.invalid_since is not None and ending.invalid_since > now:
            raise OperatorError("a certificate cannot be invalid from a time to come", "--invalid-since 2026-01-31")
        found = self.certificate(serial, ending.issuer)
        revocation = Revocation(now, ending.reason, ending.invalid_since)
        return _there(self.repository.revoke(found.issuer, serial, revocation, who=who), serial)

    def release_certificate(self, who: str, serial: int, issuer: str | None = None) -> Certificate:
        """Lift a hold; raises `OperatorError` where the certificate is not on hold."""
        found = self.certificate(serial, issuer)
        return _there(self.repository.release(found.issuer, serial, who=who), serial)

    def decide(self, who: str, number: int, *, approve: bool, detail: str = "") -> Transaction:
        """Approve or reject the waiting request of that number, or reject one that was approved and not yet issued.

        Raises `OperatorError` where it does not wait (any more).
        `detail` is for the log and the trail: the device learns no more than that it was rejected.
        """
        found = self.repository.transaction(number)
        if found is None or not self.scope.of([found]):
            raise NotFound(f"there is no request {number}", _WAITING)
        decided = self.repository.decide(number, approve=approve, who=who, detail=detail)
        if decided is not None:
            return decided
        found = self.repository.transaction(number) or found
        decider = f" (by {found.decided_by})" if found.decided_by else ""
        raise OperatorError(f"request {number} does not wait: it is {found.state.value}{decider}", _WAITING)

    def adopt(self, who: str, node: str) -> Sequence[Transaction]:
        """Let this node finish what a node that is gone had begun to issue; return that, as that node left it.

        Raises `OperatorError` where there is nothing of that node, or it is this one, whose workers do it themselves.
        """
        if node == self.repository.owner.rpartition("/")[0]:
            raise OperatorError(f"{node} is this node: its workers finish what they began", "scepd status")
        adopted = self.repository.adopt(node, who=who)
        if not adopted:
            raise NotFound(f"node {node!r} left nothing unfinished", "scepd request list --state issuing")
        return adopted

    def transactions(
        self, profile: str | None = None, limit: int = PAGE, state: TransactionState | None = None
    ) -> Sequence[Transaction]:
        """Return the transactions, newest first."""
        found = self.repository.transactions
        return self.scope.newest(lambda of: found(profile=of, state=state, limit=limit), profile, limit)

    def refusals(self, profile: str | None = None, limit: int = PAGE) -> Sequence[Refusal]:
        """Return the refused requests, newest first."""
        return self.scope.newest(lambda of: self.repository.refusals(profile=of, limit=limit), profile, limit, "at")

    def request(self, name: str) -> tuple[Sequence[Transaction], Sequence[Refusal]]:
        """Return what is known by a transaction's number, a transactionID, or a request id."""
        transactions = self.scope.of(self.repository.requests(name, _SEARCHED))
        refusals = [one for one in self.refusals(limit=_SEARCHED) if name in (one.request_id, one.transaction_id)]
        if not transactions and not refusals:
            raise NotFound(f"there is no request {name}", "scepd request list")
        return transactions, refusals

    def _one_time_rule(self, profile: str) -> OneTimeRule:
        for rule in self.profile(profile).challenge:
            if isinstance(rule, OneTimeRule):
                return rule
        raise OperatorError(
            f"profile {profile!r} takes no one-time challenges",
            f'[profile.{profile}] challenge = [{{ method = "one-time", valid = "1h" }}]',
        )


def _there(certificate: Certificate | None, serial: int) -> Certificate:
    if certificate is None:
        raise NotFound(f"there is no certificate {serial:x}", "scepd cert list")
    return certificate
