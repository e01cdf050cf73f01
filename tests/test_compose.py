"""docker-compose.yml is valid, contains no secret, and sets only existing settings."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.settings import Settings, read_settings
from tests.processes import environment, run

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
FROM_OUTSIDE = r"\$\{[A-Z_]+:\?[^}]+\}"
"""A variable without which Compose does not start."""
AFTER_MIGRATION = {
    "postgres": {"condition": "service_healthy"},
    "migrate": {"condition": "service_completed_successfully"},
}
SECRETS = {"POSTGRES_PASSWORD", "API_KEYS", "VK_TOKENS"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def test_is_a_compose_file(compose: dict[str, Any]) -> None:
    validator = jsonschema.Draft201909Validator(json.loads(SCHEMA.read_bytes()))
    assert [error.message for error in validator.iter_errors(compose)] == []


def test_an_invalid_file_is_detected(compose: dict[str, Any]) -> None:
    validator = jsonschema.Draft201909Validator(json.loads(SCHEMA.read_bytes()))
    compose = {**compose, "services": {**compose["services"], "web": {"comand": ["vk-comments"]}}}
    assert not validator.is_valid(compose)


def test_no_secret_has_a_value(services: dict[str, dict[str, Any]]) -> None:
    found = set()
    for service in services.values():
        for name, value in service["environment"].items():
            if name in SECRETS:
                assert re.fullmatch(FROM_OUTSIDE, value), name
                found.add(name)
            if name == "DATABASE_URL":
                assert re.fullmatch(rf"postgresql://\w+:{FROM_OUTSIDE}@postgres:5432/\w+", value)
    assert found == SECRETS


def test_the_list_of_secret_settings_is_complete() -> None:
    secret = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret - {"DATABASE_URL", "REDIS_URL"} <= SECRETS


def test_every_name_is_a_setting(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert {variable.lower() for variable in service["environment"]} <= Settings.model_fields.keys(), name


@pytest.mark.parametrize("name", ["migrate", "web", "worker"])
def test_settings_of_each_service_are_accepted(
    services: dict[str, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in services[name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-\}", "", re.sub(FROM_OUTSIDE, "x" * 16, value)))
    settings = read_settings()
    if name == "web":
        assert (settings.workers, settings.auth, settings.host) == (0, "keys", "0.0.0.0")  # noqa: S104 - in a container
    if name == "worker":
        assert settings.workers > 0


def test_services_wait_for_their_dependencies(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service.get("depends_on", {}) for name, service in services.items()} == {
        "postgres": {},
        "migrate": {"postgres": {"condition": "service_healthy"}},
        "web": AFTER_MIGRATION,
        "worker": AFTER_MIGRATION,
    }


def test_long_running_services_have_health_checks(services: dict[str, dict[str, Any]]) -> None:
    ending = {name for name, service in services.items() if "restart" not in service}
    unwatched = {name for name, service in services.items() if "test" not in service["healthcheck"]}
    assert ending == unwatched == {"migrate"}


def test_the_health_check_of_the_worker(services: dict[str, dict[str, Any]]) -> None:
    kind, command, *arguments = services["worker"]["healthcheck"]["test"]
    assert (kind, command) == ("CMD", "vk-comments")
    # no worker runs here: the message proves that the command is valid
    result = run(*arguments, env=environment(DATA_DIR=ROOT / "tests" / "data"))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("error: No worker runs on ")


def test_web_servers_share_the_directory_of_exports(
    services: dict[str, dict[str, Any]], compose: dict[str, Any]
) -> None:
    [volume] = services["web"]["volumes"]
    assert services["worker"]["volumes"] == [volume]
    name, _, directory = volume.partition(":")
    assert name in compose["volumes"]
    assert f"DATA_DIR={directory.removesuffix('/exports')}\n" in (ROOT / "Dockerfile").read_text()


def test_the_password_is_valid_in_a_url() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "# POSTGRES_PASSWORD: letters and digits only." in text
    assert set(re.findall(r"\$\{POSTGRES_PASSWORD:\?([^}]*)\}", text)) == {"set it to letters and digits"}


def test_the_command_to_run_the_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "Dockerfile").read_text()
    [line] = re.findall(r"^#   docker run .*", text, re.MULTILINE)
    for name, value in re.findall(r"-e ([A-Z_]+)=(\S+)", line):
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert (settings.auth, settings.host) == ("keys", "0.0.0.0")  # noqa: S104 - in a container
    assert f":{settings.port} " in line
