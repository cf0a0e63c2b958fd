"""The index flow: sessions and catalogue -> item vectors, learned click by click -> a published USearch index."""

from __future__ import annotations

from collections.abc import Callable

from online.core.catalogue import ITEMS
from online.core.update import UPDATES
from online.models.item_factors import ItemFactorsConfig
from online.models.item_vectors import IDS_FILE, STATE_FILE, BuildIndex, ItemVectors
from online.ports import ArtifactStore
from online.world import VECTORS

from .artifact import ArtifactView, newest_sound

PUBLISH_S = 5.0


def vectors_view(
    *,
    artifacts: ArtifactStore,
    build_index: BuildIndex,
    clock: Callable[[], float],
    config: ItemFactorsConfig | None = None,
) -> ArtifactView:
    """Return the view that learns item vectors and publishes their index."""
    running = newest_sound(artifacts, VECTORS)
    model = ItemVectors(config or ItemFactorsConfig(), build_index)
    if running is not None:
        model.restore(running.files[IDS_FILE].read_bytes(), running.files[STATE_FILE].read_bytes())
    return ArtifactView(
        VECTORS,
        [(ITEMS, 0), (UPDATES, 0)],
        model,
        artifacts=artifacts,
        running=running,
        every_s=PUBLISH_S,
        clock=clock,
    )
