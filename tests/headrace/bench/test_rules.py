from __future__ import annotations

from headrace.bench.rules import rules


def test_all_of_it_is_measured() -> None:
    document = rules(items=1200, rules=20, repeats=1)

    names = ["parse_us", "compile_s", "one_more_s", "put_us", "apply_us", "no_rules_us", "filter_us", "filter_new_us"]
    assert all(document[name] > 0 for name in names)
