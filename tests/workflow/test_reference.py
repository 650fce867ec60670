"""The generated pages are those that the code and config.yaml give now."""

import json
import re
from pathlib import Path

import pytest
import yaml

from maml.configuration import config as configuration
from maml.workflow.reference import write_reference

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_reference(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["config.schema.json", "configuration.md", "protocol.md"])
def test_the_pages_are_up_to_date(written, name):
    assert (written / name).read_text(encoding="utf-8") == (ROOT / "docs" / name).read_text(
        encoding="utf-8"
    ), "run `maml schema docs`"


def test_every_key_has_its_row(written):
    page = (written / "configuration.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    rows |= set(re.findall(r"An experiment may have `(\w+)`, too", page))
    for part in configuration.PLACES.values():
        described = {key for key, field in part.model_fields.items() if field.description}
        assert described <= rows


def test_tables_are_whole(written):
    for name in ("configuration.md", "protocol.md"):
        for table in (written / name).read_text(encoding="utf-8").split("\n\n"):
            widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
            assert len(widths) <= 1, table


def test_the_protocol_page_says_where_the_two_differ(written):
    page = (written / "protocol.md").read_text(encoding="utf-8")
    assert "| `inner_step_size` | `0.05` | `0.01` | miniimagenet-5way-1shot, minii" in page
    assert "| miniimagenet-5way-1shot | 0.01 · 5 = 0.05 | 75 | 10 / 75 = 0.1333 | 1.2 |" in page
    assert "| `meta_batch_size` | `4` | `4` → `2` |" in page


def test_the_schema_accepts_the_file_and_refuses_a_mistake(written):
    import jsonschema  # a machine that only computes may not have it

    schema = json.loads((written / "config.schema.json").read_text(encoding="utf-8"))
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(raw, schema)
    raw["defaults"]["iterations"] = 0
    with pytest.raises(jsonschema.ValidationError, match="less than the minimum"):
        jsonschema.validate(raw, schema)
