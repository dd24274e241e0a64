"""Taking a one-time challenge and settling it: free → reserved → spent, or free again (threats S-34, S-35)."""

from datetime import datetime

from scepd.records import Challenge, ChallengeState, Intent, Petition
from scepd.refusal import Reason, Reject
from scepd.store import statements as sql
from scepd.store.engines import StoreConnection
from scepd.store.rows import challenge_of, time_text


def reserve(connection: StoreConnection, intent: Intent | Petition, transaction: int, now: datetime) -> None:
    """Take one use of the intent's challenge for a transaction, by compare-and-set; Reject where there is none to take."""
    number = intent.identity.challenge_id
    values = {
        "number": number,
        "in_profile": intent.key.profile,
        "now": time_text(now),
        "taker": transaction,
        "taker_key": intent.public_key,
    }
    if connection.change(sql.RESERVE_CHALLENGE, values) != 1:
        row = connection.first(sql.CHALLENGE_BY_NUMBER, {"number": number})
        raise _refusal(challenge_of(row) if row is not None else None, intent.key.profile)
    connection.change(sql.ADD_USE, {"challenge": number, "transaction": transaction, "state": sql.RESERVED})


def spend(connection: StoreConnection, number: int, transaction: int) -> None:
    """Settle a reserved use after the certificate exists."""
    connection.change(sql.END_USE, {"number": transaction, "new_state": sql.SPENT})
    connection.change(sql.SPEND_CHALLENGE, {"number": number})


def free(connection: StoreConnection, number: int, transaction: int) -> None:
    """Give a reserved use back after its transaction was given up."""
    if connection.change(sql.END_USE, {"number": transaction, "new_state": sql.RELEASED}):
        connection.change(sql.FREE_CHALLENGE, {"number": number, "taker": transaction})


def _refusal(challenge: Challenge | None, profile: str) -> Reject:
    if challenge is None or challenge.profile != profile:
        return Reject(Reason.challenge_invalid, "no such challenge in this profile")
    if challenge.state is ChallengeState.FREE:
        return Reject(Reason.challenge_expired, f"challenge {challenge.id} expired {challenge.expires.isoformat()}")
    return Reject(Reason.challenge_replayed, f"challenge {challenge.id} is {challenge.state.value}")
