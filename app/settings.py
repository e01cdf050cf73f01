"""The settings: read from the environment once and frozen; all invalid values are reported at once."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import StartFailed

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode]
KindLimits = Annotated[dict[str, Annotated[int, Field(ge=1, le=10_000)]], NoDecode]
ANY_ORIGIN = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST_NAME = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
SHORTEST_API_KEY = 16
SHORTEST_MASKED_SECRET = 8
"""Shorter secrets are not masked in logs, because they may be part of ordinary words; passwords in URLs are."""


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in upper case; all are optional.

    An empty variable, such as `DATABASE_URL=` in a compose file, counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, validate_default=True
    )

    database_url: SecretStr | None = Field(
        None, description="URL of a PostgreSQL server to use instead of the embedded one"
    )
    redis_url: SecretStr | None = Field(
        None, description="URL of a Redis or Valkey server that carries notifications between processes"
    )
    channel_prefix: str = Field(
        "vk_comments",
        pattern=r"^[A-Za-z0-9_.:-]{1,40}$",
        description="prefix of the notification channels; give each deployment its own if several share a Redis",
    )
    data_dir: Path = Field(Path(".data"), description="directory of the embedded PostgreSQL, of exports and of logs")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free port")
    vk_tokens: SecretList = Field((), description="VK access tokens, separated by commas")
    vk_api_url: AnyHttpUrl = Field(AnyHttpUrl("https://api.vk.ru"), description="base URL of VK's API")
    vk_api_version: str = Field("5.199", pattern=r"^5\.\d{1,3}$", description="version of VK's API")
    vk_requests_per_second: float = Field(
        3.0, gt=0, le=10_000, description="maximum number of VK requests per second and token"
    )
    vk_timeout_seconds: float = Field(15.0, gt=0, le=120, description="timeout of one VK request")
    workers: int = Field(
        10, ge=0, le=1000, description="maximum number of concurrent jobs in this process; 0: it runs no jobs"
    )
    auth: Literal["none", "keys"] = Field("none", description="`keys`: every client must send one of API_KEYS")
    api_keys: SecretList = Field(
        (), description="API keys of clients, of at least 16 characters each, separated by commas"
    )
    cors_origins: CommaSeparated = Field(
        (), description="origins whose pages may use the API, separated by commas; `*`: any"
    )
    websocket_init_seconds: float = Field(
        10.0, gt=0, le=600, description="time within which a client must send connection_init on a new WebSocket"
    )
    websocket_max_operations: int = Field(
        100, ge=1, le=10_000, description="maximum number of concurrent operations on one WebSocket"
    )
    log_format: Literal["console", "json"] = Field("console", description="format of log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="minimum level of log lines")
    database_pool_size: int = Field(10, ge=1, le=200, description="PostgreSQL connections that a process keeps open")
    database_pool_overflow: int = Field(
        20, ge=0, le=200, description="additional connections that a process may open under load"
    )
    database_statement_timeout_seconds: float = Field(30.0, ge=0.001, description="timeout of one SQL statement")
    job_timeout_seconds: float = Field(
        6 * 3600.0, gt=0, description="timeout of an attempt of a job whose client has set none"
    )
    job_max_attempts: int = Field(5, ge=1, le=100, description="maximum number of attempts of a job")
    job_heartbeat_timeout_seconds: float = Field(
        10.0,
        ge=1,
        le=600,
        description="heartbeat age at which a worker counts as dead and other workers claim its jobs",
    )
    job_kind_limits: KindLimits = Field(
        {},
        description="maximum number of concurrent jobs of a kind, over all processes: `collect_comments=4`",
    )
    job_ageing_seconds: float = Field(
        600.0, gt=0, description="waiting time after which a job's priority rises by one level, up to HIGH"
    )
    job_retention_days: float = Field(30.0, ge=0, description="age at which ended jobs are removed; 0: never")
    export_retention_days: float = Field(
        7.0, gt=0, le=3650, description="age at which exported files (in DATA_DIR/exports) are removed"
    )
    confirm_deletion_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="largest share of a wall that is marked as deleted without a second, confirming read",
    )
    queue_limit: int = Field(10_000, ge=1, description="maximum number of waiting jobs")
    operation_max_tokens: int = Field(5_000, ge=100, description="largest number of tokens in a GraphQL document")
    operation_max_depth: int = Field(20, ge=5, description="largest number of nested levels of fields in an operation")
    operation_max_fields: int = Field(
        2_000, ge=100, description="largest number of fields in an operation, with fragments expanded"
    )
    operation_max_root_fields: int = Field(50, ge=1, description="largest number of root fields in an operation")
    operation_max_aliases: int = Field(100, ge=0, description="largest number of aliases in one selection set")
    operation_max_directives: int = Field(200, ge=1, description="largest number of directives in an operation")
    drain_seconds: float = Field(
        2.0, ge=0, le=60, description="time from SIGTERM, when readiness fails, until connections are closed"
    )

    @field_validator("vk_tokens", "api_keys", "cors_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("job_kind_limits", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            pairs = [part.partition("=") for part in value.split(",") if part.strip()]
            return {name.strip(): limit.strip() for name, _, limit in pairs}
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_url(value, "postgresql", "postgres"):
            raise ValueError("must be a URL that begins with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_url(value, "redis", "rediss", "unix"):
            raise ValueError("must be a URL that begins with redis://, rediss:// or unix://")
        return value

    @field_validator("vk_tokens", "api_keys")
    @classmethod
    def _fits_a_header(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(re.fullmatch(r"[!-~]+", secret.get_secret_value()) for secret in value):
            raise ValueError("may contain printable ASCII characters without spaces only")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin if origin == ANY_ORIGIN else _normalized_origin(origin) for origin in value)

    @field_validator("api_keys")
    @classmethod
    def _is_long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_API_KEY for key in value):
            raise ValueError(f"each key needs {SHORTEST_API_KEY} characters or more")
        return value

    # A rule over several fields is a validator of the later one: a validator of the whole
    # model would not run, so its error would not be reported, while any other field is wrong.

    @field_validator("auth")
    @classmethod
    def _is_safe(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and not _is_loopback(info.data.get("host", "")):
            raise ValueError("none is only allowed on a loopback HOST; set AUTH=keys and API_KEYS")
        return value

    @field_validator("api_keys")
    @classmethod
    def _has_a_key(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        if info.data.get("auth") == "keys" and not value:
            raise ValueError("AUTH=keys needs at least one key")
        return value

    def secrets(self) -> list[str]:
        """Return the secrets to mask in logs: URLs, passwords, VK tokens and API keys; short ones are absent."""
        urls = [url.get_secret_value() for url in (self.database_url, self.redis_url) if url]
        passwords = [text for url in urls for text in _passwords(url)]
        keys = [secret.get_secret_value() for secret in (*self.vk_tokens, *self.api_keys)]
        return urls + passwords + [key for key in keys if len(key) >= SHORTEST_MASKED_SECRET]


def _is_url(value: SecretStr, *schemes: str) -> bool:
    try:
        parts = urlsplit(value.get_secret_value())
        _ = parts.port  # raises if it is not a number; the message contains the URL, so it must not be shown
    except ValueError:
        return False
    return parts.scheme in schemes


def _normalized_origin(origin: str) -> str:
    """Return an origin as browsers send it (RFC 6454, 6.2): in lower case and ASCII, without the default port.

    Raises:
        ValueError: it is not an origin; the message does not contain it.
    """
    problem = ValueError("each must be an origin such as https://example.com, or *")
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError:
        raise problem from None
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if has_more or not parts.scheme or not HOST_NAME.fullmatch(host):
        raise problem
    is_default = port is None or port == DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _passwords(url: str) -> list[str]:
    """Return the strings that mask the password of a URL in every form, because drivers and libraries rewrite URLs."""
    password = urlsplit(url).password
    if not password:
        return []
    alone = {password, unquote(password)}
    return [f":{password}@", *(text for text in alone if len(text) >= SHORTEST_MASKED_SECRET)]


def read_settings(**overrides: object) -> Settings:
    """Read the environment; `overrides` (field name -> value) take precedence.

    Raises:
        StartFailed: variables are invalid; the message names each one and what is wrong, without values.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates them
    except ValidationError as error:
        lines = [_complaint(detail["loc"], detail["msg"]) for detail in error.errors(include_input=False)]
        raise StartFailed("The settings are wrong:\n" + "\n".join(lines)) from None


def _complaint(location: tuple[int | str, ...], message: str) -> str:
    return f"  {str(location[0]).upper()}: {message.removeprefix('Value error, ')}"
