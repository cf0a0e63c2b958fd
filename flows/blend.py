"""The session blend's view: updates -> weights of the session sources, learned click by click -> published."""

from __future__ import annotations

from collections.abc import Callable

from online.core.update import UPDATES
from online.models.session_blend import BLEND_FILE
from online.models.session_updates import LEARNED_FILE, SessionUpdates
from online.ports import Artifact, ArtifactStore
from online.world import BLEND

from .artifact import ArtifactView

PUBLISH_S = 5.0


def blend_view(*, artifacts: ArtifactStore, clock: Callable[[], float]) -> ArtifactView:
    """Return the view that learns the blend and publishes it; who adopts it reads what the log holds of updates."""
    return ArtifactView(
        BLEND, [(UPDATES, 0)], restored, artifacts=artifacts, every_s=PUBLISH_S, clock=clock, is_read_again=True
    )


def restored(running: Artifact | None) -> SessionUpdates:
    """Return the learner of a published version, or one that has learned nothing."""
    model = SessionUpdates()
    if running is not None:
        model.restore(running.files[BLEND_FILE].read_bytes(), running.files[LEARNED_FILE].read_bytes())
    return model
