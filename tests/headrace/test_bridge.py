from __future__ import annotations

from pathlib import Path

import pytest

from headrace.bridge import read_mapping
from online.core.foreign_event import BadMapping

TOML = """
[fields]
user_id = "customer.id"
item_id = "sku"
[types]
pageview = "view"
[constants]
surface = "shop"
"""


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_pairs_come_before_the_file(tmp_path: Path) -> None:
    mapping = read_mapping(written(tmp_path, "m.toml", TOML), ["item_id=product.id"], ["buy=purchase"], ["position=1"])

    assert mapping.fields == {"user_id": "customer.id", "item_id": "product.id"}
    assert mapping.types == {"pageview": "view", "buy": "purchase"}
    assert mapping.constants == {"surface": "shop", "position": "1"}


def test_a_mapping_may_be_json(tmp_path: Path) -> None:
    path = written(tmp_path, "m.json", '{"constants": {"context.is_app": true}}')

    assert read_mapping(path, [], [], []).constants == {"context.is_app": True}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.toml", "fields = ", "is no TOML"),
        ("m.json", "{", "is no JSON"),
        ("m.json", "[]", "has the tables"),
        ("m.toml", "[colours]", "has the tables"),
        ("m.toml", "fields = 1", "a table of texts"),
        ("m.toml", "[fields]\nuser_id = 1", "a table of texts"),
        ("m.toml", "[constants]\nsurface = [1]", "a table of values"),
        ("m.toml", '[fields]\ncolour = "c"', "no field 'colour'"),
    ],
)
def test_a_file_that_is_no_mapping_is_told_in_one_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(BadMapping, match=reason) as caught:
        read_mapping(written(tmp_path, name, text), [], [], [])

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadMapping, match="No such file"):
        read_mapping(tmp_path / "none.toml", [], [], [])


@pytest.mark.parametrize("pair", ["user_id", "=a", "user_id=", ""])
def test_what_is_no_pair_is_told(pair: str) -> None:
    with pytest.raises(BadMapping, match="is no pair"):
        read_mapping(None, [pair], [], [])
