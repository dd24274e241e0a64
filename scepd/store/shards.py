"""Shards of the CRLs: how many certificates each has, and when the next one begins."""

from collections.abc import Mapping
from datetime import datetime

import attrs
from sqlalchemy import bindparam, func, insert, select, update

from scepd.observe.audit import Action
from scepd.records import crl_name
from scepd.store.ledger import Act
from scepd.store.rows import time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.status_tables import CRL_SHARD
from scepd.store.writer import Writer

_C, _S = CERTIFICATE.c, CRL_SHARD.c
_of_issuer = _S.issuer == bindparam("authority")

_SHARDS = select(_S.shard, _S.certificates, _S.counted, _S.ends).where(_of_issuer).order_by(_S.shard)
_NEW = (
    select(_C.shard, func.count(), func.max(_C.id), func.max(_C.not_after))
    # Concatenated, so that no index on the issuer is used: there are few rows after the last one that was counted.
    .where(_C.id > bindparam("counted"), _C.issuer.concat("") == bindparam("authority"))
    .group_by(_C.shard)
)
_ADD = insert(CRL_SHARD)
_COUNT = (
    update(CRL_SHARD)
    .where(_of_issuer, _S.shard == bindparam("number"))
    .values(certificates=bindparam("new_count"), counted=bindparam("new_counted"), ends=bindparam("new_ends"))
)


class Shards(Writer):
    """The acts and reads about shards."""

    def crl_shards(self, issuer: str, *, ends_after: datetime | None = None) -> tuple[int, ...]:
        """Return the shards of an issuer, oldest first: all, or the newest and those with certificates until after a time."""
        rows = self._connection.rows(_SHARDS, {"authority": issuer})
        since = "" if ends_after is None else time_text(ends_after)
        return tuple(row[0] for row in rows if row is rows[-1] or row[3] >= since) or (0,)

    def deal_shards(self, issuer: str, size: int, *, who: str) -> int | None:
        """Count what was issued since the last time, and open the next shard where the newest is full; return it.

        A shard may come to have a few more than `size`: what is issued before every process has heard of the next one.
        """
        known: dict[int, _Count] = {row[0]: _Count(*row[1:]) for row in self._connection.rows(_SHARDS, {"authority": issuer})}
        counted = max((count.counted for count in known.values()), default=0)
        fresh = {
            row[0]: _Count(*row[1:]) for row in self._connection.rows(_NEW, {"authority": issuer, "counted": counted})
        }
        if not fresh and known:
            return None
        with self._act("deal_shards") as now:
            for shard, count in (fresh or {0: _Count()}).items():
                if shard in known:
                    known[shard] = known[shard].with_more(count)
                    self._connection.change(_COUNT, _changed(issuer, shard, known[shard]))
                else:
                    known[shard] = count
                    self._connection.change(_ADD, _row(issuer, shard, count))
            newest = max(known)
            if known[newest].certificates < size:
                return None
            self._connection.change(_ADD, _row(issuer, newest + 1, _Count(0, max(c.counted for c in known.values()))))
            details = {"certificates_before": known[newest].certificates}
            self._note(Act(Action.crl_shard_opened, who, f"crl {crl_name(issuer, newest + 1)}", details), now)
            self._announce()
        return newest + 1

    def _find_shards_again(self, lost: Mapping[str, int], ends: Mapping[str, datetime]) -> None:
        """Record the shards up to `lost`, the newest of each issuer that is known of; part of a recovery's transaction.

        From the newest that the store knows on, they may have certificates that are lost: they end with their issuer.
        """
        for issuer in sorted(lost.keys() & ends.keys()):
            known = {row[0]: _Count(*row[1:]) for row in self._connection.rows(_SHARDS, {"authority": issuer})}
            counted, end = max((count.counted for count in known.values()), default=0), time_text(ends[issuer])
            for shard in range(max(known, default=0), lost[issuer] + 1):
                if shard in known:
                    longer = known[shard].with_more(_Count(0, known[shard].counted, end))
                    self._connection.change(_COUNT, _changed(issuer, shard, longer))
                else:
                    self._connection.change(_ADD, _row(issuer, shard, _Count(0, counted, end)))


@attrs.frozen
class _Count:
    """What is known of one shard: how many certificates, up to which row, and when the last of them ends."""

    certificates: int = 0
    counted: int = 0
    ends: str = ""

    def with_more(self, other: "_Count") -> "_Count":
        return _Count(self.certificates + other.certificates, other.counted, max(self.ends, other.ends))


def _row(issuer: str, shard: int, count: _Count) -> dict[str, object]:
    return {"issuer": issuer, "shard": shard, **attrs.asdict(count)}


def _changed(issuer: str, shard: int, count: _Count) -> dict[str, object]:
    return {
        "authority": issuer,
        "number": shard,
        "new_count": count.certificates,
        "new_counted": count.counted,
        "new_ends": count.ends,
    }
