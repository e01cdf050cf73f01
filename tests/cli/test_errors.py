"""Each expected error is one line on standard error and exit code 1."""

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.commands import app
from app.errors import StartFailed
from tests.cli.conftest import MakeEnvironment
from tests.conftest import Simulator
from tests.processes import environment, run


def error_of(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a command that must fail, and return its error output."""
    result = run(*arguments, env=env)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").rstrip("\n")


def test_all_wrong_settings_are_listed() -> None:
    env = environment(PORT="http", WORKERS=-1, DATABASE_URL="mysql://me:hush@host/db", LOG_LEVEL="loud")
    first, *others = error_of("serve", env=env).splitlines()
    assert first == "The settings are wrong:"
    assert sorted(line.split(":")[0].strip() for line in others) == ["DATABASE_URL", "LOG_LEVEL", "PORT", "WORKERS"]
    assert "hush" not in "".join(others)


@pytest.mark.parametrize("command", [("demo", "--once"), ("serve",), ("worker",), ("migrate",), ("simulate-vk",)])
def test_each_command_reads_the_settings_first(command: tuple[str, ...]) -> None:
    assert "PORT" in error_of(*command, env=environment(PORT=99_999))


def test_an_open_server_needs_keys() -> None:
    assert "set AUTH=keys and API_KEYS" in error_of("serve", env=environment(HOST="0.0.0.0"))  # noqa: S104 - rejected


@pytest.mark.parametrize("command", [("demo", "--once"), ("simulate-vk",)])
def test_an_installation_without_the_simulator(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simulator", None)
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, StartFailed)
    assert "This installation does not contain the VK simulator" in str(result.exception)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """Yield a port that another socket listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_busy_port(busy_port: int) -> None:
    expected = f"Cannot listen on 127.0.0.1 port {busy_port}: Address already in use."
    assert error_of("serve", env=environment(PORT=busy_port)) == f"{expected} Set PORT or HOST."
    assert error_of("simulate-vk", "--port", str(busy_port)) == f"{expected} Choose another --port."


def test_demo_on_a_busy_port(busy_port: int, tmp_path: Path) -> None:
    message = error_of("demo", "--once", env=environment(PORT=busy_port, DATA_DIR=tmp_path))
    assert message == f"Cannot listen on 127.0.0.1 port {busy_port}: Address already in use. Set PORT or HOST."


def test_address_of_another_machine() -> None:
    env = environment(HOST="192.0.2.1", AUTH="keys", API_KEYS="key-of-a-client-1")
    assert error_of("serve", env=env).startswith("Cannot listen on 192.0.2.1 port 8000: ")


def test_demo_in_a_directory_that_is_not_writable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    message = error_of("demo", "--once", env=environment(DATA_DIR=file, PORT=0))
    assert message == f"Cannot write {file}/logs/simulator.log: Not a directory. Set DATA_DIR to a writable directory."


def test_no_server() -> None:
    message = error_of("collect", "1", "--server", "http://127.0.0.1:9")
    assert message == "No VK Comments server answers at http://127.0.0.1:9. Start one with `vk-comments serve`."


def test_another_program_answers(simulator: Simulator) -> None:
    assert error_of("collect", "1", "--server", simulator.url).startswith("No VK Comments server answers at ")


def test_unknown_migration(env: MakeEnvironment) -> None:
    message = error_of("migrate", "--to", "9999", env=env())
    assert message.startswith("Migration '9999' does not exist; the migrations are 0001, 0002")


def test_database_without_tables(env: MakeEnvironment, empty_database: Callable[[], str]) -> None:
    for command in ("serve", "worker"):
        message = error_of(command, env=env(DATABASE_URL=empty_database()))
        assert message.startswith("The database is at migration none, this version needs ")
        assert message.endswith("Run `vk-comments migrate`.")


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_database_that_is_unavailable(command: str, env: MakeEnvironment) -> None:
    url = "postgresql://me:hush@127.0.0.1:9/db"
    message = error_of(command, env=env(DATABASE_URL=url))
    assert message.startswith("PostgreSQL cannot answer at the moment.")


def test_schema_into_a_directory_that_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "schema.graphql"
    assert error_of("schema", "-o", str(file)) == f"Cannot write {file}: No such file or directory."
