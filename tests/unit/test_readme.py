"""README tells the truth about settings and operations."""

import re
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from app.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "web" / "examples").glob("*.graphql"))


def test_every_setting_is_listed_with_its_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (.*) \|$", README, re.MULTILINE)
    listed = {name: meaning.strip() for name, meaning in rows}
    assert listed == {name.upper(): field.description for name, field in Settings.model_fields.items()}


def test_the_operations_are_those_of_graphiql() -> None:
    shown = [block.strip() for block in re.findall(r"^```graphql\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
    assert shown == [path.read_text(encoding="utf-8").strip() for path in EXAMPLES]


def test_the_operation_in_javascript_is_valid() -> None:
    [operation] = re.findall(r"query: `(subscription .*?)`", README, re.DOTALL)
    schema = build_schema((ROOT / "schema" / "schema.graphql").read_text(encoding="utf-8"))
    assert validate(schema, parse(operation)) == []


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:app|schema|tests|docs|web)/[a-z_/.-]+\.[a-z]+)`", README)))
)
def test_files_that_are_named_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_pictures_exist(path: str) -> None:
    assert (ROOT / path).exists()
