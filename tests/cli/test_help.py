from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from app.cli.commands import CONCURRENCY, app
from app.settings import Settings

COMMANDS = ["demo", "serve", "worker", "migrate", "collect", "export", "simulate-vk", "schema"]


def test_without_arguments() -> None:
    result = CliRunner().invoke(app, [])
    assert "vk-comments demo" in result.output
    assert all(command in result.output for command in COMMANDS)


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, version("vk-comments") + "\n")


def test_the_list_of_commands_is_complete() -> None:
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    [callback] = [
        found.callback
        for found in app.registered_commands
        if (found.name or getattr(found.callback, "__name__", "")) == command
    ]
    assert callback
    assert callback.__doc__
    assert callback.__doc__ in result.output


def test_help_names_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_COMMENTS_API_KEY", "hush-hush")
    result = CliRunner().invoke(app, ["collect", "--help"])
    assert "hush-hush" not in result.output


def test_help_of_the_worker() -> None:
    shown = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert f"Default: WORKERS, or {CONCURRENCY} if that is 0." in shown
    assert "exit with 0 if the worker on this DATA_DIR is alive, else with 1" in shown


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
