"""Commands that end by themselves."""

from collections.abc import Callable
from pathlib import Path

from graphql import build_schema

from tests.cli.conftest import MakeEnvironment
from tests.processes import environment, run


def test_schema_to_the_terminal_and_to_a_file(tmp_path: Path) -> None:
    shown = run("schema")
    assert (shown.returncode, shown.stderr) == (0, "")
    file = tmp_path / "schema.graphql"
    written = run("schema", "-o", str(file))
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert file.read_text() == shown.stdout
    assert build_schema(shown.stdout).query_type


def test_migrate_up_and_down(env: MakeEnvironment, empty_database: Callable[[], str]) -> None:
    variables = env(DATABASE_URL=empty_database())

    def migrate(*arguments: str) -> str:
        result = run("migrate", *arguments, env=variables)
        assert result.returncode == 0, result.stderr
        return result.stdout

    head = migrate()
    assert head.startswith("The database is at 0")
    assert migrate() == head
    assert migrate("--to", "0002") == "The database is at 0002.\n"
    assert migrate("--to", "base") == "The database is at base.\n"
    assert migrate("--to", "head") == head


def test_migrate_the_embedded_database(data_dir: Path) -> None:
    result = run("migrate", env=environment(DATA_DIR=data_dir))
    assert result.stdout.startswith("The database is at 0")
    assert result.stderr == ""
    assert (data_dir / "postgres" / "data" / "PG_VERSION").exists()
