"""Links, phones and mentions in texts."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.contacts import LONGEST_LINK, MOST_OF_A_KIND, contacts_of
from tests.effort import grows_linearly

LINKS = {
    "Смотри https://vk.com/wall-1_2?reply=3, там всё": ["https://vk.com/wall-1_2?reply=3"],
    "(https://ru.wikipedia.org/wiki/Банк_(значения))": ["https://ru.wikipedia.org/wiki/Банк_(значения)"],
    "HTTP://WWW.Example.COM/Путь#часть": ["http://example.com/Путь"],
    "https://vk.com/ и vk.com и m.vk.com, vk.ru!": ["https://vk.com"],
    "пиши t.me/durov.": ["https://t.me/durov"],
    "сайт банк.рф/вход и онлайн.сайт": ["https://банк.рф/вход", "https://онлайн.сайт"],
    "[https://vk.com/app5|Игра]": ["https://vk.com/app5"],
    "ok.ru:8080/x?y=1&z=2": ["https://ok.ru:8080/x?y=1&z=2"],
    "www.сайт.рф, shop.банк.рф/x, site.рф и сайт.com": [
        "https://сайт.рф",
        "https://shop.банк.рф/x",
        "https://site.рф",
        "https://сайт.com",
    ],
    "a.b.c.d.e.ru -site.ru": ["https://a.b.c.d.e.ru", "https://site.ru"],
    "vk.com/id1,vk.com/id2;https://a.ru/x,y;z": ["https://vk.com/id1", "https://vk.com/id2", "https://a.ru/x,y;z"],
    "хорошо.Это всё.Но не то.Me": [],
    "clck.ru/3abc»": ["https://clck.ru/3abc"],
    "https://a.ru/#/page": ["https://a.ru/#/page"],
    "https://user:pass@site.com/x": ["https://site.com/x"],
    "mail@site.ru и a.b@mail.site.ru": [],
    "Привет.Как дела? Ну.да. 12.05.2024 в 10.30 т.е. и т.д. file.py 3.14": [],
    "site.running и мой.ru и x.rus": [],
    "https://... и http://": [],
}
PHONES = {
    "8 (916) 123-45-67": ["+79161234567"],
    "+7 916 123 45 67, +79161234567": ["+79161234567"],
    "89161234567.": ["+79161234567"],
    "тел:8-495-123-45-67": ["+74951234567"],
    "8(4752)12-34-56 или (4752) 12-34-56": ["+74752123456"],
    "звоните 916 123-45-67": ["+79161234567"],
    "8.916.123.45.67": ["+79161234567"],
    "7 701 123 45 67": ["+77011234567"],
    "8 916 123-45-67 8 903 765-43-21": ["+79161234567", "+79037654321"],
    "8 (800) 555-35-35": ["+78005553535"],
    "тел.89161234567 т.8(916)123-45-68 телефон89161234569": ["+79161234567", "+79161234568", "+79161234569"],
    "+79161234567доб1": ["+79161234567"],
    "8 800 2000 600": ["+78002000600"],
    "+7 – 916 – 123 – 45 – 67, + 7 916 123-45-68": ["+79161234567", "+79161234568"],
    "79161234567": [],
    "a89161234567 x.89161234567 1.89161234567 89161234567a": [],
    "+375 29 123-45-67 40817810099910004312 4276 8916 1234 5678 2024-05-12 10:30:45": [],
    "id9161234567 wall-1_89161234567": [],
    "89 000 000 000 рублей, 8 000 000 00 00": [],
    "12.05.2024 10:30, 2024-05-12, 4276 8000 1234 5678": [],
    "100 500 рублей, 1 234 567 890": [],
    "8 (12) 34": [],
    "8 (123) 456-78-90": [],
    "(999) 99": [],
}
MENTIONS = {
    "[id1|Павел], [club2|Банк] и [public3|П], [event4|Е]": [1, -2, -3, -4],
    "[id5:bp-1_2|Анна], да": [5],
    "@id7 (Олег) и *club8 (Клуб), @public9": [7, -8, -9],
    "@durov, mail@id5.ru, **id6, id8, @id0, [id9], [id1|]": [],
    "[id1|А] [id1|Б]": [1],
    "[club1|[NAME] Клуб] [id2|x]": [-1, 2],
    "[id999999999999999|x] [id9999999999999999|y]": [999_999_999_999_999],
}


@pytest.mark.parametrize("text", LINKS)
def test_links(text: str) -> None:
    assert list(contacts_of(text).links) == LINKS[text]


@pytest.mark.parametrize("text", PHONES)
def test_phones(text: str) -> None:
    assert list(contacts_of(text).phones) == PHONES[text]


@pytest.mark.parametrize("text", MENTIONS)
def test_mentions(text: str) -> None:
    assert list(contacts_of(text).mention_ids) == MENTIONS[text]


def test_the_rest_is_without_them() -> None:
    found = contacts_of("[id1|Павел], звони 8 916 123-45-67 (vk.com/x). Жду")
    assert found.rest.split() == [",", "звони", "(", ").", "Жду"]
    assert contacts_of("просто текст").rest == "просто текст"


def test_the_number_of_contacts_is_limited() -> None:
    many = contacts_of(" ".join(f"site{number}.ru" for number in range(MOST_OF_A_KIND + 5)))
    assert len(many.links) == MOST_OF_A_KIND
    [long] = contacts_of(f"https://site.ru/{'x' * 1_000}").links
    assert len(long) == LONGEST_LINK


@given(st.text(st.sampled_from("ab1 .-@*[]|()/:+78916иd\nvk.comhtps"), max_size=200))
def test_any_text(text: str) -> None:
    found = contacts_of(text)
    assert all(link.startswith(("http://", "https://")) and " " not in link for link in found.links)
    assert all(len(phone) == 12 for phone in found.phones)


PIECES = [
    "a",
    "a.",
    "1",
    "1 ",
    "[id1",
    "(",
    ")",
    "http://",
    "a-",
    "@id1",
    "8 9",
    "а.рф/",
    "[id1|",
    "[id1|[a",
    "x.ru,",
    ",",
    "8-",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "https://a.ru/", "["])
def test_a_long_text_is_read_once(piece: str, start: str) -> None:
    """And not again from each position, which would take quadratic time."""

    def reading(size: int) -> Callable[[], object]:
        return partial(contacts_of, start + piece * (size // len(piece)))

    assert grows_linearly(reading, 5_000)
