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

    database_url: SecretStr | None = Field(None, description="PostgreSQL to use instead of the embedded one")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey that carries events between processes")
    channel_prefix: str = Field(
        "vk_comments",
        pattern=r"^[A-Za-z0-9_.:-]{1,40}$",
        description="what the channels of events begin with: one per deployment where several share a Redis",
    )
    data_dir: Path = Field(Path(".data"), description="where the embedded PostgreSQL and files live")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    vk_tokens: SecretList = Field((), description="VK access tokens, separated by commas")
    vk_api_url: AnyHttpUrl = Field(AnyHttpUrl("https://api.vk.ru"), description="where VK's API answers")
    vk_api_version: str = Field("5.199", pattern=r"^5\.\d{1,3}$", description="version of VK's API")
    vk_requests_per_second: float = Field(3.0, gt=0, le=10_000, description="requests a second per token")
    vk_timeout_seconds: float = Field(15.0, gt=0, le=120, description="time limit of one VK request")
    workers: int = Field(10, ge=0, le=1000, description="jobs that run at once in this process; 0 runs none")
    auth: Literal["none", "keys"] = Field("none", description="`keys` asks every client for one of API_KEYS")
    api_keys: SecretList = Field(
        (), description="keys that clients may use, of 16 characters or more each, separated by commas"
    )
    cors_origins: CommaSeparated = Field((), description="origins whose pages may use the API; * is any")
    log_format: Literal["console", "json"] = Field("console", description="how log lines are written")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe level logged")
    database_pool_size: int = Field(10, ge=1, le=200, description="connections kept open per process")
    database_pool_overflow: int = Field(20, ge=0, le=200, description="further connections under load")
    database_statement_timeout_seconds: float = Field(30.0, ge=0.001, description="time limit of one SQL statement")
    job_timeout_seconds: float = Field(6 * 3600.0, gt=0, description="time limit of a job that names none")
    job_max_attempts: int = Field(5, ge=1, le=100, description="how often a job is tried")
    job_heartbeat_timeout_seconds: float = Field(
        10.0, ge=1, le=600, description="silence after which a worker counts as dead and its jobs go elsewhere"
    )
    job_kind_limits: KindLimits = Field(
        {}, description="how many jobs of a kind run at once, in all processes: `collect_comments=4,other=1`"
    )
    job_ageing_seconds: float = Field(
        600.0, gt=0, description="wait after which a job counts as one priority higher, up to HIGH"
    )
    job_retention_days: float = Field(30.0, ge=0, description="age at which ended jobs are removed; 0 keeps them")
    export_retention_days: float = Field(
        7.0, gt=0, le=3650, description="age at which files of exports are removed; they are in DATA_DIR/exports"
    )
    confirm_deletion_share: float = Field(
        0.2, ge=0, le=1, description="share of a wall that is only marked as deleted after a second read confirms it"
    )
    queue_limit: int = Field(10_000, ge=1, description="jobs that may wait at once")
    drain_seconds: float = Field(
        2.0, ge=0, le=60, description="how long readiness fails after SIGTERM before connections are closed"
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
