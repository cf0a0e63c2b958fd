from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online.models.session_blend import BlendDocument, SessionBlend, SessionBlendConfig
from online.models.session_candidates import FEATURES

RANDOM = np.random.default_rng(3)


def taught(clicks: int, *, planted: int) -> SessionBlend:
    """Return a blend that has seen sessions whose next item is mostly the one with most of one feature."""
    blend, random = SessionBlend(SessionBlendConfig()), np.random.default_rng(1)
    for _ in range(clicks):
        x = random.random((20, len(FEATURES)))
        blend.learn_one(x, int(np.argmax(x[:, planted] + 0.1 * random.random(20))), length=int(random.integers(1, 7)))
    return blend


def test_the_feature_that_tells_is_found() -> None:
    blend = taught(500, planted=FEATURES.index("recent_clicks"))
    assert np.argmax(blend.weights[0]) == FEATURES.index("recent_clicks")
    assert blend.log_loss is not None
    assert blend.log_loss < np.log(20)


def test_a_step_goes_along_the_gradient_of_the_log_likelihood() -> None:
    blend, x = SessionBlend(SessionBlendConfig()), RANDOM.random((6, len(FEATURES)))

    def likelihood(weights: np.ndarray) -> float:
        utilities = x @ weights
        return float(utilities[2] - np.log(np.exp(utilities).sum()))

    start = blend.weights[0].copy()
    nudges = 1e-6 * np.eye(len(FEATURES))
    gradient = np.array([(likelihood(start + nudge) - likelihood(start - nudge)) / 2e-6 for nudge in nudges])
    blend.learn_one(x, 2, length=1)
    expected = 0.1 * gradient / np.sqrt(0.01 + gradient**2)
    np.testing.assert_allclose(blend.weights[0] - start, expected, rtol=1e-5)
    np.testing.assert_allclose(blend.weights[1], expected, rtol=1e-5)
    assert not blend.weights[2:].any()


def test_a_blend_restored_goes_on_as_if_never_stopped() -> None:
    blend = taught(50, planted=0)
    restored = SessionBlend.from_state(blend.state())
    x = RANDOM.random((5, len(FEATURES)))
    for one in (blend, restored):
        one.learn_one(x, 1, length=3)
    assert blend.state() == restored.state()


def test_a_document_of_before_a_feature_was_added_is_gone_on_with() -> None:
    document = msgspec.json.decode(taught(50, planted=0).state(), type=BlendDocument)
    for named in (document.weights, document.squared_gradients):
        del named["is_last_again"]
    blend, at = SessionBlend.from_state(msgspec.json.encode(document)), FEATURES.index("is_last_again")
    assert not blend.weights[:, at].any()
    assert blend.weights[:, 0].tolist() == document.weights["knn"]
    blend.learn_one(RANDOM.random((5, len(FEATURES))), 1, length=3)
    assert blend.weights[0, at] != 0.0


@pytest.mark.parametrize(
    "document",
    [
        BlendDocument({"knn": [0.0] * 5}, {"knn": [0.0] * 5}, 0, None),
        BlendDocument({name: [0.0] for name in FEATURES}, {name: [0.0] for name in FEATURES}, 0, None),
        BlendDocument({name: [1e400] * 5 for name in FEATURES}, {name: [0.0] * 5 for name in FEATURES}, 0, None),
    ],
)
def test_a_document_this_code_cannot_serve_is_refused(document: BlendDocument) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        SessionBlend.from_state(msgspec.json.encode(document))
