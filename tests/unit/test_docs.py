"""The documentation is correct about settings, operations, files and links."""

import re
from pathlib import Path

import pytest
import yaml
from graphql import build_schema, parse, validate

from tests.generated_docs import generated, path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "web" / "examples").glob("*.graphql"))
MOST_LINES_OF_README = 150


def in_pages(pattern: str) -> list[tuple[Path, str]]:
    """Return the matches of a pattern in all pages, each with its page."""
    found = [
        (page, text) for page in PAGES for text in re.findall(pattern, page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert found
    return found


@pytest.mark.parametrize("file", sorted(generated()), ids=lambda file: file.name)
def test_generated_parts_are_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == generated()[file], "run `make docs`"


def test_a_path_through_the_code_has_to_exist() -> None:
    with pytest.raises(AttributeError):
        path(("app.main:no_such_function",))


def test_the_operations_for_clients_are_those_of_graphiql() -> None:
    shown = [block.strip() for block in re.findall(r"^```graphql\n(.*?)^```$", CLIENTS, re.MULTILINE | re.DOTALL)]
    assert shown == [example.read_text(encoding="utf-8").strip() for example in EXAMPLES]


@pytest.mark.parametrize(
    "operation",
    [text for _, text in in_pages(r"```graphql\n(.*?)```")]
    + [text for _, text in in_pages(r"query: `(subscription .*?)`")],
)
def test_operations_are_valid(operation: str) -> None:
    schema = build_schema((ROOT / "schema" / "schema.graphql").read_text(encoding="utf-8"))
    assert validate(schema, parse(operation)) == []


@pytest.mark.parametrize(
    "file",
    sorted(
        {text for _, text in in_pages(r"`((?:app|schema|simulator|migrations|tests|docs|web)/[a-z0-9_/.-]+\.[a-z]+)`")}
    ),
)
def test_files_that_are_named_exist(file: str) -> None:
    assert (ROOT / file).exists()


@pytest.mark.parametrize(("page", "link"), in_pages(r"\]\(((?!http)[^)#]+)\)"))
def test_links_have_targets(page: Path, link: str) -> None:
    assert (page.parent / link).exists()


def test_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_README


def test_the_workflow_runs_the_commands_of_developers() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert commands[-1] == "make check"
