from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import StartFailed
from app.settings import Settings, read_settings

SetVariables = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> SetVariables:
    """Clear the environment of this project's variables and return a function that sets some."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def setting_errors() -> list[str]:
    with pytest.raises(StartFailed) as caught:
        read_settings()
    title, *lines = caught.value.message.split("\n")
    assert title == "The settings are wrong:"
    return [line.strip() for line in lines]


def test_defaults(environment: SetVariables) -> None:
    environment()
    settings = read_settings()
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.data_dir == Path(".data")
    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 8000, "none")
    assert (settings.vk_tokens, settings.api_keys, settings.cors_origins) == ((), (), ())
    assert str(settings.vk_api_url) == "https://api.vk.ru/"
    assert settings.vk_api_version == "5.199"
    assert settings.vk_requests_per_second == 3
    assert settings.workers == 10
    assert (settings.log_format, settings.log_level) == ("console", "info")
    assert (settings.database_pool_size, settings.database_pool_overflow) == (10, 20)
    assert settings.database_statement_timeout_seconds == 30
    assert settings.secrets() == []


def test_all_variables_are_read(environment: SetVariables) -> None:
    environment(
        DATABASE_URL="postgresql://u:p@h/db",
        REDIS_URL="redis://h:6379/0",
        DATA_DIR="/somewhere",
        HOST="0.0.0.0",  # noqa: S104 - only parsed
        PORT="0",
        VK_TOKENS=" one , two,,",
        VK_API_URL="http://127.0.0.1:5000",
        VK_API_VERSION="5.131",
        WORKERS="0",
        AUTH="keys",
        API_KEYS="key-of-a-client-1",
        CORS_ORIGINS="https://a.example, HTTPS://B.example:443/, http://[::1]:8080, https://пример.рф, app://x, *",
        LOG_FORMAT="json",
        LOG_LEVEL="debug",
    )
    settings = read_settings()
    assert settings.database_url
    assert settings.database_url.get_secret_value() == "postgresql://u:p@h/db"
    assert settings.redis_url
    assert settings.redis_url.get_secret_value() == "redis://h:6379/0"
    assert settings.data_dir == Path("/somewhere")
    assert settings.port == 0
    assert [token.get_secret_value() for token in settings.vk_tokens] == ["one", "two"]
    assert settings.vk_api_url.port == 5000
    assert settings.vk_api_version == "5.131"
    assert settings.workers == 0
    assert settings.cors_origins == (
        "https://a.example",
        "https://b.example",
        "http://[::1]:8080",
        "https://xn--e1afmkfd.xn--p1ai",
        "app://x",
        "*",
    )
    assert (settings.log_format, settings.log_level) == ("json", "debug")


def test_an_empty_variable_is_not_set(environment: SetVariables) -> None:
    environment(**{name.upper(): "" for name in Settings.model_fields})
    assert read_settings() == Settings.model_construct(**{n: f.default for n, f in Settings.model_fields.items()})


def test_arguments_override_the_environment(environment: SetVariables) -> None:
    environment(PORT="1", WORKERS="2")
    settings = read_settings(port=3, vk_tokens=("token",))
    assert (settings.port, settings.workers) == (3, 2)
    assert settings.vk_tokens[0].get_secret_value() == "token"


def test_settings_are_frozen(environment: SetVariables) -> None:
    environment()
    with pytest.raises(ValidationError, match="frozen"):
        read_settings().port = 1


def test_one_message_lists_all_invalid_values(environment: SetVariables) -> None:
    environment(
        DATABASE_URL="mysql://user:hidden-password@h/db",
        REDIS_URL="http://hidden-password",
        HOST="0.0.0.0",  # noqa: S104 - only parsed
        PORT="70000",
        VK_TOKENS="hidden token",
        API_KEYS="ключ",
        VK_API_URL="somewhere",
        VK_API_VERSION="6",
        WORKERS="many",
        LOG_LEVEL="loud",
    )
    errors = setting_errors()
    assert errors == [
        "DATABASE_URL: must be a URL that begins with postgresql://",
        "REDIS_URL: must be a URL that begins with redis://, rediss:// or unix://",
        "PORT: Input should be less than or equal to 65535",
        "VK_TOKENS: may contain printable ASCII characters without spaces only",
        "VK_API_URL: Input should be a valid URL, relative URL without a base",
        r"VK_API_VERSION: String should match pattern '^5\.\d{1,3}$'",
        "WORKERS: Input should be a valid integer, unable to parse string as an integer",
        "AUTH: none is only allowed on a loopback HOST; set AUTH=keys and API_KEYS",
        "API_KEYS: may contain printable ASCII characters without spaces only",
        "LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'",
    ]
    assert not any("hidden" in line or "ключ" in line for line in errors)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hidden@[::1/db",
        "postgresql://user:hidden@host:port/db",
        "postgresql://user:hidden@h℀st/db",  # urlsplit's own message would quote all of it
        "user:hidden@host/db",
    ],
)
def test_a_malformed_database_url(environment: SetVariables, url: str) -> None:
    environment(DATABASE_URL=url)
    assert setting_errors() == ["DATABASE_URL: must be a URL that begins with postgresql://"]


@pytest.mark.parametrize(
    "origin",
    [
        "a.example",
        "null",
        "https://",
        "https://a.example/path",
        "https://a.example?query",
        "https://a.example#part",
        "https://user@a.example",
        "https://a.example:port",
        "https://a b.example",
        "https://[::1",
        f"https://{'a' * 64}.example",
    ],
)
def test_a_malformed_origin_is_listed_with_the_other_invalid_values(environment: SetVariables, origin: str) -> None:
    environment(CORS_ORIGINS=f"https://a.example,{origin}", PORT="x")
    errors = setting_errors()
    assert [line.partition(":")[0] for line in errors] == ["PORT", "CORS_ORIGINS"]
    assert errors[1] == "CORS_ORIGINS: each must be an origin such as https://example.com, or *"


def test_auth_by_keys_needs_a_key(environment: SetVariables) -> None:
    environment(AUTH="keys", PORT="x")
    assert setting_errors()[1] == "API_KEYS: AUTH=keys needs at least one key"


@pytest.mark.parametrize("keys", ["a", "fifteen-letters", "sixteen-letters-,fifteen-letters"])
def test_short_api_keys_are_listed_with_the_other_invalid_values(environment: SetVariables, keys: str) -> None:
    environment(API_KEYS=keys, PORT="x")
    errors = setting_errors()
    assert [line.partition(":")[0] for line in errors] == ["PORT", "API_KEYS"]
    assert errors[1] == "API_KEYS: each key needs 16 characters or more"


def test_api_keys_of_16_characters(environment: SetVariables) -> None:
    environment(API_KEYS="sixteen-letters-", AUTH="keys")
    assert read_settings().secrets() == ["sixteen-letters-"]


def test_an_unknown_auth_is_the_only_error(environment: SetVariables) -> None:
    environment(AUTH="maybe")
    assert setting_errors() == ["AUTH: Input should be 'none' or 'keys'"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_auth_none_on_a_loopback_host(environment: SetVariables, host: str) -> None:
    environment(HOST=host)
    assert read_settings().host == host
    assert host == "localhost" or ip_address(host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])  # noqa: S104 - only parsed
def test_auth_none_on_another_host(environment: SetVariables, host: str) -> None:
    environment(HOST=host)
    assert setting_errors() == ["AUTH: none is only allowed on a loopback HOST; set AUTH=keys and API_KEYS"]


def test_secrets_are_never_shown(environment: SetVariables) -> None:
    environment(
        DATABASE_URL="postgresql://u:hidden@h/db", VK_TOKENS="hidden", API_KEYS="hidden-from-all-others", AUTH="keys"
    )
    assert "hidden" not in repr(read_settings()) + str(read_settings().model_dump())


def test_secrets_contain_passwords_in_every_encoding(environment: SetVariables) -> None:
    environment(
        DATABASE_URL="postgresql://u:long%40password@h/db",
        REDIS_URL="redis://:short@h",
        VK_TOKENS="a,b,seven77,eight888",
    )
    secrets = read_settings().secrets()
    assert secrets[:3] == ["postgresql://u:long%40password@h/db", "redis://:short@h", ":long%40password@"]
    assert set(secrets[3:]) == {"long%40password", "long@password", ":short@", "eight888"}


def test_an_unparsable_url_is_masked_as_a_whole(environment: SetVariables) -> None:
    environment(DATABASE_URL="postgresql://u@h/db", REDIS_URL="unix:///run/redis")
    assert read_settings().secrets() == ["postgresql://u@h/db", "unix:///run/redis"]
