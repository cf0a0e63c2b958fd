"""The index flow: sessions and catalogue -> item vectors, learned click by click -> a published USearch index."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from online.core.catalogue import ITEMS
from online.core.update import UPDATES
from online.models.item_factors import ItemFactorsConfig
from online.models.item_vectors import IDS_FILE, STATE_FILE, BuildIndex, ItemVectors
from online.ports import Artifact, ArtifactStore
from online.world import VECTORS

from .artifact import ArtifactView

PUBLISH_S = 5.0
CONFIG = ItemFactorsConfig()


def vectors_view(
    *, artifacts: ArtifactStore, build_index: BuildIndex, clock: Callable[[], float], config: ItemFactorsConfig = CONFIG
) -> ArtifactView:
    """Return the view that learns item vectors and publishes their index."""
    restore = partial(restored, build_index=build_index, config=config)
    topics = [(ITEMS, 0), (UPDATES, 0)]
    return ArtifactView(VECTORS, topics, restore, artifacts=artifacts, every_s=PUBLISH_S, clock=clock)


def restored(running: Artifact | None, *, build_index: BuildIndex, config: ItemFactorsConfig = CONFIG) -> ItemVectors:
    """Return the vectors of a published version, or such as have learned nothing."""
    model = ItemVectors(config, build_index)
    if running is not None:
        model.restore(running.files[IDS_FILE].read_bytes(), running.files[STATE_FILE].read_bytes())
    return model
