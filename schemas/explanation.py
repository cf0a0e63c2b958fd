"""An explained slate: what every score is made of, which events spoke for it, what was left out, and by which state."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from schemas.slate import LoggedItem, LoggedSlateOut


class Part(BaseModel):
    """One term of a score; the terms of a slot add up to it.

    Beside features there are `intercept`, `value` (what the worth of carts and purchases makes of the log-odds of a
    click), `thompson` (the draw of the weights), `rules` (boosts), `fatigue` (what was lately shown and ignored), and
    `place` for lists in an order of their own.
    """

    name: str
    value: float | None = Field(default=None, description="Of a feature")
    contribution: float


class FoundBy(BaseModel):
    """A source that found the item."""

    source: str
    rank: int | None = Field(description="1 for the source's best; beyond 200 as near as the log has it")
    score: float | None = Field(description="null: it tells an order only")


class ExplainedItem(LoggedItem):
    """One slot, explained."""

    parts: list[Part] | None = Field(
        description="The largest first; null: the version of the model that scored is not kept any more"
    )
    sources: list[FoundBy]
    rules: list[str] = Field(description="Those that are on the item")
    pinned: bool
    redundancy: float = Field(description="To the slots before, 0 to 1; the slate's diversity times this is taken off")


class AffinityEvent(BaseModel):
    """An event of the user, and what is left of its weight."""

    item_id: str
    event_type: str
    timestamp: float
    recent: float
    lasting: float


class AffinityOut(BaseModel):
    """An affinity that spoke: the events that it comes from, and what older ones have left, summed up.

    Weights have decayed to the moment of the slate, `recent` by the shortest half-life and `lasting` by the longest.
    """

    facet: str
    key: str
    features: list[str]
    positions: list[int] = Field(description="Of the slots that it spoke for")
    events: list[AffinityEvent]
    earlier_recent: float
    earlier_lasting: float


class UserPart(BaseModel):
    """What the record says now of what spoke then."""

    record_position: str | None = Field(description="null: there is no record any more")
    record_is_newer: bool = Field(description="Events have come since: what spoke then may be summed up by now")
    affinities: list[AffinityOut]


class FiredRuleOut(BaseModel):
    """A rule that was on a candidate; of one that the request brought itself, `version` is 0."""

    rule_id: str
    version: int
    action: str


class StateRead(BaseModel):
    """Versions and positions of all that the ranking has read."""

    record_position: str
    records: dict[str, str] = Field(description="Record -> its position, where several were read")
    updates: dict[int, int] = Field(description="Partition -> number of the last update of item counts")
    index_version: int
    blend_version: int
    control_version: str
    as_of: dict[str, float]


class DrawOut(BaseModel):
    """What the slots were drawn with."""

    tau: float
    epsilon: float
    diversity: float
    pool_share: float
    thompson: float
    category_cap: int | None
    brand_cap: int | None
    caps: list[int] = Field(description="Most slots of a group, one for each further cap")
    seed: int


class ExplanationOut(LoggedSlateOut):
    """A slate that was served, explained from what was logged of it."""

    items: Sequence[ExplainedItem]
    session_items: list[str]
    rules: list[FiredRuleOut]
    candidates: int
    removed_items: list[str] = Field(description="Candidates that could not be shown; `removed` has the reasons")
    ranker: str
    weighting: str
    state: StateRead
    draw: DrawOut
    stages_us: dict[str, float]
    user: UserPart | None = Field(description="null: the slate names nobody, or the records do not answer")
