"""The statements of a recovery: what may have been used, decided or taken back since becomes worthless."""

from sqlalchemy import BindParameter, bindparam, delete, func, insert, or_, select, update

from scepd.records import ChallengeState, EntityState, TransactionState
from scepd.store.access_tables import DISABLED_PROFILE, ENTITY, TOKEN
from scepd.store.audit_tables import AUDIT_HEAD
from scepd.store.schema import CERTIFICATE, CHALLENGE, TRANSACTION
from scepd.store.status_tables import CRL

_H, _E, _K, _T = CHALLENGE.c, ENTITY.c, TOKEN.c, TRANSACTION.c
_now: BindParameter[str] = bindparam("now")

_free = _H.state == ChallengeState.FREE.value
_code = (
    or_(_E.state == EntityState.NEW.value, _E.state == EntityState.RESERVED.value),
    _E.digest.is_not(None),
    or_(_E.expires.is_(None), _E.expires > _now),
)
_token = (_K.revoked.is_(None), or_(_K.expires.is_(None), _K.expires > _now))
_approved = (_T.state == TransactionState.APPROVED.value, _T.expires > _now)

CANCEL_CHALLENGES = update(CHALLENGE).where(_free).values(state=ChallengeState.CANCELLED.value)
# A challenge that comes free again, since its transaction is given up, has expired by then.
EXPIRE_RESERVED = (
    update(CHALLENGE).where(_H.state == ChallengeState.RESERVED.value, _H.expires > _now).values(expires=_now)
)
EXPIRE_CODES = update(ENTITY).where(*_code).values(expires=_now, updated=_now)
REVOKE_TOKENS = update(TOKEN).where(*_token).values(revoked=_now)
# Housekeeping expires them: what was approved may have been issued since, or taken back.
END_APPROVALS = update(TRANSACTION).where(*_approved).values(expires=_now, updated=_now)

COUNT_CHALLENGES = select(func.count()).select_from(CHALLENGE).where(_free)
COUNT_CODES = select(func.count()).select_from(ENTITY).where(*_code)
COUNT_TOKENS = select(func.count()).select_from(TOKEN).where(*_token)
COUNT_APPROVALS = select(func.count()).select_from(TRANSACTION).where(*_approved)

ADD_CERTIFICATE = insert(CERTIFICATE)
ADD_CRL = insert(CRL)
SWITCH_OFF = insert(DISABLED_PROFILE)
TAKE_OVER_OFF = (
    update(DISABLED_PROFILE).where(DISABLED_PROFILE.c.name == bindparam("profile")).values(disabled_by=bindparam("who"))
)
FORGET_HEAD = delete(AUDIT_HEAD).where(AUDIT_HEAD.c.owner == bindparam("chain"))
