"""Slates: the request at the HTTP edge, the answer, and the record on the log from which a slate can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

import msgspec
from pydantic import AliasChoices, BaseModel, Field, StringConstraints, model_validator

from schemas.fields import Context, Edge, EpochSeconds, Id, Label, guarded

MAX_SLATE = 100
DEFAULT_SLATE = 10
MAX_RANKED = 500
MAX_CURSOR = 16_384  # characters
MAX_DEADLINE_MS = 60_000
PACKED_VERSION, HALVED_VERSION = 2, 3  # of slates: since these `features` are packed, and of two bytes each


MAX_EXPRESSION, MAX_BOOSTS = 2048, 5

Expression = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXPRESSION)]
Factor = Annotated[float, Field(ge=1e-3, le=1e3, description="What it multiplies the odds of an item by")]


class BoostIn(Edge):
    """More, or with a factor below 1 less, of the items that a condition is true of."""

    where: Expression
    factor: Factor


class AskIn(Edge):
    """What every request for a slate may say: who, where, how many, and what to leave out."""

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    surface: Label = "home"
    n: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_SLATE,
            validation_alias=AliasChoices("n", "count", "num_results", "numResults", "page_size", "pageSize"),
        ),
    ] = Field(default=DEFAULT_SLATE, description="Default: the surface's")
    item_id: Id | None = Field(default=None, description="The item the user looks at, on item pages")
    session_items: Annotated[list[Id], Field(max_length=100)] = Field(
        default=[],
        description="Items of this session, oldest first, when the caller knows better than the log",
    )
    context: Context = {}
    filter: Expression | None = Field(default=None, description="Which items may be shown, in the language of rules")
    boost: Annotated[list[BoostIn], Field(max_length=MAX_BOOSTS)] = []
    exclude_item_ids: Annotated[list[Id], Field(max_length=1000)] = []
    exclude_seen: bool = False
    exclude_purchased: bool = True
    exclude_in_cart: bool = True
    diversity: Annotated[float, Field(ge=0, le=10)] | None = None
    exploration: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Share of uniform draws per slot; default: the policy's"
    )
    return_properties: Annotated[list[Label], Field(max_length=64)] = []
    explain: bool = False
    policy: Label | None = Field(default=None, description="Id of a policy; default: the surface's")
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)] | None = Field(
        default=None, description="Beyond it a cheaper rung of the ladder answers; default: the surface's"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    timestamp: EpochSeconds | None = Field(
        default=None, description="The moment to rank for, for replays of the past; default and latest: now"
    )


class RecommendIn(AskIn):
    """What a client asks: who, where, how many, and what to leave out."""

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.user_id is None and self.visitor_id is None and not self.session_items and self.item_id is None:
            msg = "give user_id, visitor_id, session_items or item_id"
            raise ValueError(msg)
        return self


class SimilarIn(AskIn):
    """How to choose items like the one in the path."""


class RankIn(AskIn):
    """The caller's own candidates, in the caller's order."""

    candidates: Annotated[list[Id], Field(min_length=1, max_length=MAX_RANKED)]
    n: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_RANKED,
            validation_alias=AliasChoices("n", "count", "num_results", "numResults", "page_size", "pageSize"),
        ),
    ] = Field(default=MAX_RANKED, description="Default: all of them")


class NextIn(Edge):
    """How to go on; without a cursor the slate is looked up by its id."""

    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR)] | None = Field(
        default=None, description="The `next_cursor` of the slate: it spares looking that up"
    )
    n: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = Field(default=None, description="Default: as before")


class Reason(BaseModel):
    """Why an item is in the slate; `item_id` names the item it follows from, if one does."""

    code: str
    text: str
    item_id: str | None = None


class SlateItem(BaseModel):
    """One slot."""

    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    reason: Reason
    properties: dict[str, Any] | None = None
    features: dict[str, float] | None = Field(
        default=None, description="Explained: feature, or `rules`, -> contribution"
    )


class Fallback(BaseModel):
    """The rung of the ladder that answered instead of the personal one, and why."""

    rung: str
    why: str


class StateAsOf(BaseModel):
    """Up to where the user's events are reflected: position of the last one, and its age at serving time."""

    position: str | None
    lag_ms: float | None


class ExperimentOut(BaseModel):
    """The experiment that the user is in on this surface, and the variant that answered."""

    id: str
    variant: str


class SlateOut(BaseModel):
    """The answer to a recommendation request."""

    recommendation_id: str
    decision_id: str
    items: list[SlateItem]
    policy_id: str
    policy_version: int = 1
    model_version: str
    experiment: ExperimentOut | None = None
    fallback: Fallback | None
    controls: list[str] = Field(
        default=[], description="The user's own, in force: muted, boosts, personalization_off, consent_withdrawn"
    )
    state_as_of: StateAsOf
    ope_valid: bool
    took_ms: float
    next_cursor: str | None = None


class RankOut(SlateOut):
    """The caller's candidates as ranked; those that are in no slot, though there was room for them, are named."""

    unknown: list[str] = Field(description="The catalogue has none of these")
    ineligible: list[str] = Field(description="Of these none may be shown to who asks, here and now")


class LoggedItem(BaseModel):
    """One slot of a slate that was served."""

    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    reason: Reason | None = Field(description="null: the model that it follows from does not serve here any more")


class LoggedSlateOut(BaseModel):
    """A slate that was served, from what was logged of it."""

    recommendation_id: str
    decision_id: str
    surface: str
    served_at: float
    items: Sequence[LoggedItem]
    policy_id: str
    policy_version: int
    model_version: str
    experiment: ExperimentOut | None
    fallback: Fallback | None
    controls: list[str]
    removed: dict[str, int]
    ope_valid: bool
    ope_why: str


class FiredRule(msgspec.Struct, array_like=True, frozen=True):
    """A rule that a slate was drawn under; of one that the request brought itself, `version` is 0."""

    rule_id: str
    version: int
    action: str


class Slate(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One served slate on the log: everything its ranking read, so that it can be replayed and evaluated.

    Matrices are little-endian bytes in C order, one row per candidate: `utilities` float64 (c,), `groups` int32
    (c, 2), `eligible` uint8 (c,), `sources` bit sets over `source_names`, uint8 (c, ceil(s / 8)): source i is bit
    i % 8 of byte i // 8. `features` is an LZ4 block, without its size, of bfloat16 (f, c), one row per feature; in
    version 2 of float32 (f, c), in version 1 it is the plain float32 (c, f).
    `slots` are candidate indexes; `propensities` are conditional on the slots before, and on `weight_shift`, float64
    (f,): the draw of Thompson sampling, which is in `utilities` already. `pool`, uint8 (c,), says which candidates are
    new items; it is empty where `pool_share` is 0.
    `rule_hits` are bit sets over `rules` as `sources` are over theirs: which rule is on which candidate. `boosts`,
    float64 (c,), is what rules have added to `utilities`, which have it in them; empty for nothing. So has `fatigue`,
    float32 (c,): what was taken off for items that were lately shown and ignored. `cap_groups`, int32
    (c, k), is each candidate's group under each of `caps`, −1 for none.
    """

    recommendation_id: str
    decision_id: str
    partition: int
    user_key: str | None
    surface: str
    time: float  # the moment ranked for
    served_at: float  # the server's clock
    n: int
    request: dict[str, Any]
    session_items: list[str]
    record_position: str
    updates: dict[int, int]  # partition -> seq of the item aggregates read
    model_version: str
    index_version: int
    policy_id: str
    rung: str
    why: str
    tau: float
    epsilon: float
    diversity: float
    seed: int
    candidates: list[str]
    feature_names: list[str]
    source_names: list[str]
    features: bytes
    utilities: bytes
    groups: bytes
    eligible: bytes
    sources: bytes
    slots: list[int]
    propensities: list[float]
    removed: dict[str, int] = {}  # reason -> candidates it made ineligible
    ope_valid: bool = True
    ope_why: str = ""
    stages_us: dict[str, float] = {}
    records: dict[str, str] = {}  # key -> position of every record read, when that was not `user_key`'s alone
    schema_version: int = 1
    pool: bytes = b""
    pool_share: float = 0.0
    category_cap: int | None = None
    brand_cap: int | None = None
    pins: dict[int, int] = {}  # slot, counted from 0 -> candidate
    thompson: float = 0.0  # standard deviations of the posterior that one of the draw counts
    weight_shift: bytes = b""  # empty where the ranker has no posterior
    blend_version: int = 0  # of the weights that blended the session sources, 0 for the prior
    robot: bool = False  # asked for by a robot: nothing is learned from it
    rules: list[FiredRule] = []  # those that were on a candidate; what they kept out is in `removed` as `rule:ID`
    rule_hits: bytes = b""
    boosts: bytes = b""
    caps: list[int] = []  # most slots of each group that a rule caps
    cap_groups: bytes = b""
    policy_version: int = 1
    control_version: str = ""  # position of the last change of policies, surfaces and models that was known
    ranker: str = ""  # of the policy: `learned`, `popularity`, or the name of a model
    weighting: str = "hybrid"  # the evidence that retrieval went by: `session`, `profile` or both
    as_of: dict[str, float] = {}  # `record`, `updates` -> the latest `received_at` of an event in what was read of it
    values: dict[str, float] = {}  # what `click`, `cart` and `purchase` were worth; empty: the common values
    experiment_id: str = ""  # that the unit was in; empty for none
    variant: str = ""
    held_out: bool = False  # of a unit of the holdout: nothing is learned from it
    controls: list[str] = []  # of the user, in force; without consent nothing is learned from the slate
    canary: str = ""  # salt of the canary that the surface had; empty for none, or where the unit is on no side of it
    canary_arm: str = ""  # `candidate` or `baseline`
    canary_step: int = 0
    fatigue: bytes = b""

    def sources_of(self, candidate: int) -> list[str]:
        """Return the names of the sources that found a candidate, in their order."""
        bits = _bits(self.sources, len(self.source_names), candidate)
        return [name for i, name in enumerate(self.source_names) if bits >> i & 1]

    def rules_on(self, candidate: int) -> list[FiredRule]:
        """Return the rules that are on a candidate."""
        bits = _bits(self.rule_hits, len(self.rules), candidate)
        return [rule for i, rule in enumerate(self.rules) if bits >> i & 1]

    def source_of(self, candidate: int) -> str | None:
        """Return the first of the sources that found a candidate, None for none."""
        bits = _bits(self.sources, len(self.source_names), candidate)
        return self.source_names[(bits & -bits).bit_length() - 1] if bits else None


def _bits(sets: bytes, of: int, candidate: int) -> int:
    """Return a candidate's bit set over so many members."""
    width = (of + 7) // 8
    return int.from_bytes(sets[candidate * width : (candidate + 1) * width], "little")


encode_slate = msgspec.msgpack.Encoder().encode
decode_slate = guarded(msgspec.msgpack.Decoder(Slate).decode)
