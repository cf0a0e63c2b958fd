from __future__ import annotations

import re
from pathlib import Path

from online.core.rules.vocabulary import FIELDS

ROW = re.compile(r"^\| `([a-z_.*]+)` \| ([a-z, ]+) \| (.+) \|$", re.MULTILINE)
KINDS = {
    "string": "string",
    "number": "number",
    "bool": "true or false",
    "strings": "list of strings",
    "any": "string, number, true or false",
}


def test_the_vocabulary_in_the_documentation_is_the_one_there_is() -> None:
    page = Path("docs/rules.md").read_text()
    _, _, section = page.partition("## Vocabulary")

    assert ROW.findall(section) == [(name, KINDS[field.kind], field.doc) for name, field in FIELDS.items()]
