"""The fields of a request that conditions may name: who asks, where, when and in which context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.event import user_id_of

from ..known import complete
from ..record import FACETS, UserRecord
from ..rung import acts_of
from ..step import Context
from .mask import Scalar
from .syntax import OPEN


@dataclass(frozen=True, slots=True)
class RequestFields:
    """Fields by name, None where there is none. `context` is the request's over what the record knows."""

    record: UserRecord
    user_key: str | None
    surface: str
    n: int
    item_id: str | None
    context: Context
    now: float

    def __call__(self, name: str) -> Scalar:
        """Return a field.

        >>> fields = RequestFields(UserRecord(), "u7", "home", 10, None, {"device": "phone"}, 7200.0)
        >>> fields("user.user_id"), fields("context.device"), fields("request.hour"), fields("request.item_id")
        ('7', 'phone', 2.0, None)
        """
        group, _, key = name.partition(".")
        if group == OPEN[1]:
            return self.context.get(key)
        match name:
            case "surface":
                return self.surface
            case "user.labels":
                return self.record.labels
            case "user.liked_brands":
                return self._liked("brand")
            case "user.liked_categories":
                return self._liked("category")
            case "user.acts":
                return float(acts_of(self.record))
            case "user.user_id":
                return user_id_of(self.user_key)
            case "request.n":
                return float(self.n)
            case "request.item_id":
                return self.item_id
            case "request.hour":
                return float(datetime.fromtimestamp(self.now, UTC).hour)
        raise KeyError(name)

    def _liked(self, facet: str) -> Sequence[str]:
        """Return what of a facet the longest memory holds something positive of."""
        table = complete(self.record).affinities[FACETS.index(facet)]
        return [key for key, weights in table.items() if weights[-1] > 0.0]
