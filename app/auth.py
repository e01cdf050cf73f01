"""Authentication: AUTH=none admits all clients on this machine, AUTH=keys all clients with one of API_KEYS."""

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from app.errors import Unauthenticated
from app.settings import Settings

SCHEME = "bearer "
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class KeyRing:
    """The keys that clients may use, stored as hashes. Empty: no key is required."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [sha256(key.encode()).digest() for key in keys]

    def check(self, authorization: str | None) -> None:
        """Check the value of an Authorization header, `Bearer <key>`; its duration reveals nothing about the keys.

        Raises:
            Unauthenticated: a key is required, and this is not one of them.
        """
        if not self._hashes:
            return
        if not authorization or not authorization.lower().startswith(SCHEME):
            raise Unauthenticated("This server requires an API key: send the header `Authorization: Bearer <key>`.")
        given = sha256(authorization[len(SCHEME) :].strip().encode()).digest()
        if not any([compare_digest(given, known) for known in self._hashes]):  # noqa: C419 - compare with every key, in constant time
            raise Unauthenticated("This API key is unknown.")


def key_ring(settings: Settings) -> KeyRing:
    """Return the keys that the settings require of clients."""
    return KeyRing([key.get_secret_value() for key in settings.api_keys] if settings.auth == "keys" else [])


def answered_hosts(settings: Settings) -> list[str]:
    """Return the host names, without ports, by which clients may call this server; * means any.

    Without keys, only the names of this machine: otherwise any site could give its own name
    this machine's address (DNS rebinding) and read all data as its own origin.
    """
    if settings.auth == "keys":
        return ["*"]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return [*LOOPBACK_NAMES, host]
