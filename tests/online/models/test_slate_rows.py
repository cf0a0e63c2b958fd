from __future__ import annotations

import msgspec
import pytest
from example_rows import planted_examples

from online.core.features import INDEX, NAMES, position_feature
from online.models.slate_rows import slate_rows


def test_the_position_feature_is_that_of_the_slot_the_row_was_shown_in() -> None:
    rows = slate_rows(planted_examples(1)[0])

    assert rows.features[:, INDEX["position"]].tolist() == [position_feature(slot) for slot in range(1, 9)]


def test_an_example_of_other_features_is_refused() -> None:
    other = msgspec.structs.replace(planted_examples(1)[0], feature_names=[*NAMES[:-1], "another"])

    with pytest.raises(ValueError, match="other features"):
        slate_rows(other)


def test_an_example_whose_parts_do_not_fit_is_refused() -> None:
    good = planted_examples(1)[0]

    for broken in (
        msgspec.structs.replace(good, features=good.features[:-4]),
        msgspec.structs.replace(good, clicked=[True]),
        msgspec.structs.replace(good, positions=[1]),
        msgspec.structs.replace(good, outcomes=[1]),
    ):
        with pytest.raises(ValueError, match=r"position or label|size"):
            slate_rows(broken)
