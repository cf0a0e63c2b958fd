"""Shadow slates: what another policy or model would have answered to a request, beside what was served."""

from __future__ import annotations

import msgspec

from schemas.fields import guarded
from schemas.slate import Slate


class ShadowSlate(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A slate that nobody saw, drawn for a request that another one answered, with the same seed.

    `shadow_of` is the id of the slate that was served. `model` is the ranker that stood in for the served policy's,
    empty where the shadow is a policy. `rank_shift` is None where the two have no item in common.
    """

    shadow_of: str
    model: str = ""
    share: float  # of the requests that are shadowed
    served_policy_id: str
    served_policy_version: int
    served_model_version: str
    overlap: float  # share of items in both, of the longer one's length
    rank_biased_overlap: float
    rank_shift: float | None
    waited_ms: float  # between the answer and the beginning of the shadow
    slate: Slate


encode_shadow = msgspec.msgpack.Encoder().encode
decode_shadow = guarded(msgspec.msgpack.Decoder(ShadowSlate).decode)
