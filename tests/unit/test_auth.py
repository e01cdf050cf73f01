import pytest

from app.auth import KeyRing, key_ring
from app.errors import Unauthenticated
from app.settings import read_settings

ONE, TWO = "key-of-client-one", "key-of-client-two"


@pytest.mark.parametrize("header", [None, "", "Basic x", "Bearer anything"])
def test_no_key_is_required(header: str | None) -> None:
    ring = key_ring(read_settings(auth="none", api_keys=("an-unused-api-key",)))
    ring.check(header)
    assert not ring._hashes  # noqa: SLF001 - an empty set means that no key is required


@pytest.mark.parametrize("header", [f"Bearer {ONE}", f"bearer {TWO}", f"BEARER  {TWO} "])
def test_a_known_key(header: str) -> None:
    ring = key_ring(read_settings(auth="keys", api_keys=(ONE, TWO)))
    ring.check(header)
    with pytest.raises(Unauthenticated):
        ring.check(f"{header.strip()}-and-more")


@pytest.mark.parametrize("header", [None, "", "one", "Basic one", "Bearer"])
def test_no_key_is_given(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match="requires an API key"):
        KeyRing(["one"]).check(header)


@pytest.mark.parametrize("header", ["Bearer ", "Bearer three", "Bearer One", "Bearer ключ"])
def test_an_unknown_key(header: str) -> None:
    with pytest.raises(Unauthenticated, match="is unknown") as caught:
        KeyRing(["one", "two"]).check(header)
    assert "three" not in caught.value.message
