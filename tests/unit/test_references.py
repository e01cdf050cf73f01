import pytest

from app.vk.references import GroupReference, PostReference, read_group_reference, read_post_reference


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1", "1"),
        ("-1", "1"),
        (" 1 ", "1"),
        ("0001", "1"),
        ("4294967297", "4294967297"),
        ("club1", "1"),
        ("CLUB1", "1"),
        ("public1", "1"),
        ("event1", "1"),
        ("apiclub", "apiclub"),
        ("ApiClub", "apiclub"),
        ("@apiclub", "apiclub"),
        ("1tv", "1tv"),
        ("club1x", "club1x"),
        ("a.b_c", "a.b_c"),
        ("vk.com/apiclub", "apiclub"),
        ("https://vk.com/apiclub", "apiclub"),
        ("http://www.vk.com/club1", "1"),
        ("https://m.vk.com/public1?from=search", "1"),
        ("https://vk.ru/event1#top", "1"),
        ("HTTPS://VK.COM/ApiClub/", "apiclub"),
        ("https://vk.com/@apiclub", "apiclub"),
        ("https://vk.com/wall-1_2", "1"),
        ("https://vk.com/wall-1_2?reply=3", "1"),
        ("https://vk.com/apiclub?w=wall-1_2", "1"),
        ("wall-1_2", "1"),
    ],
)
def test_a_group_reference(text: str, name: str) -> None:
    found = read_group_reference(text)
    assert found == GroupReference(name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("@", "is empty"),
        ("https://vk.com/", "is empty"),
        ("0", "has the id 0, which no community has"),
        ("club0", "has the id 0, which no community has"),
        ("id1", "is a person's page, not a community's"),
        ("https://vk.com/id1", "is a person's page, not a community's"),
        ("https://example.org/apiclub", "is not a link to VK"),
        ("https://example.org/wall-1_2", "is not a link to VK"),
        ("https://vk.com.example.org/apiclub", "is not a link to VK"),
        ("apiclub?x", "is not a link to VK"),
        ("a b", "is not an id, screen name or link of a community"),
        ("a,b", "is not an id, screen name or link of a community"),
        ("что-то", "is not an id, screen name or link of a community"),
        ("x", "is not an id, screen name or link of a community"),
        ("x" * 33, "is not an id, screen name or link of a community"),
        ("12345678901", "is not an id, screen name or link of a community"),
        ("wall-0_1", "is not an id, screen name or link of a community"),
        ("https://vk.com/topic-1_2", "is not an id, screen name or link of a community"),
    ],
)
def test_invalid_group_references(text: str, complaint: str) -> None:
    assert read_group_reference(text) == complaint


@pytest.mark.parametrize(
    ("text", "post"),
    [
        ("https://vk.com/wall-1_2", PostReference(-1, 2)),
        (" wall-1_2 ", PostReference(-1, 2)),
        ("https://vk.ru/feed?w=wall-12_34%2Fall", PostReference(-12, 34)),
        ("m.vk.com/apiclub?w=wall-4294967297_4294967298", PostReference(-4294967297, 4294967298)),
    ],
)
def test_a_post_reference(text: str, post: PostReference) -> None:
    assert read_post_reference(text) == post


@pytest.mark.parametrize(
    "text", ["", "1_2", "wall1_2", "firewall-1_2", "https://example.org/wall-1_2", "wall-1_12345678901", "wall-01_2"]
)
def test_invalid_post_references(text: str) -> None:
    assert read_post_reference(text) == "is not a link to a post of a community, such as https://vk.com/wall-1_2"
