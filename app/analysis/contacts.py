"""Finds in texts what leads elsewhere: links, phone numbers, and mentions of people and communities.

Each is written in one way, so that the same one is the same however somebody types it. What VK's ids and screen names
stand for is not asked: `@durov` is no mention here, as only VK knows whose name it is.
"""

import re
from typing import Final, NamedTuple

MOST_OF_A_KIND: Final = 50
"""So many of a text are kept, the first ones: what has more is no comment."""
LONGEST_LINK: Final = 500
"""Characters; what is longer is cut."""

_ENDINGS: Final = (
    "com|net|org|info|biz|ru|su|ua|by|kz|uz|am|ge|md|lv|lt|ee|de|fr|it|pl|eu|uk|us|io|me|ly|be|cc|tv|gg|gl|co|ai|to|"
    "app|dev|pro|online|site|store|shop|club|space|website|top|xyz|link|live|fun|vip|icu|click|blog|art|moscow|tatar"
)
_RUSSIAN_ENDINGS: Final = "рф|рус|онлайн|сайт|москва|дети|бел|укр|қаз"
_ENDINGS_OF_BOTH: Final = "com|net|org|su"
"""What a name in Russian letters may also end with, and no sentence does whose next one follows without a space."""
_LATIN_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ANY_LABEL: Final = "[a-zа-яё0-9](?:[a-zа-яё0-9-]{0,61}[a-zа-яё0-9])?"
# a comma or semicolon before what is the next link ends this one
_REST: Final = (
    r"(?:(?![,;](?:https?://|www\.|[a-z0-9-]{1,63}\.(?:com|ru|me|cc|net|org)\b))"
    r"[^\s<>\"«»“”|\[\]{}\\^`])"
)
_LINK: Final = re.compile(
    rf"(?P<scheme>https?://)(?P<host>[^\s/?#<>\"«»“”|\[\]{{}}\\^`]{{1,255}})(?P<path>{_REST}*)"
    # without a scheme a link has to end like one; not within another word, nor behind the @ of an address
    rf"|(?<![\w@./])(?<![\w.]-)(?P<bare>(?:(?:{_LATIN_LABEL}\.){{1,5}}(?:{_ENDINGS})"
    rf"|(?:{_ANY_LABEL}\.){{1,5}}(?:{_RUSSIAN_ENDINGS}|{_ENDINGS_OF_BOTH}))"
    rf"(?![\w@-])(?!\.\w)(?::\d{{2,5}}(?![\w@]))?)(?P<bare_path>(?:[/?#]{_REST}*)?)",
    re.IGNORECASE,
)
_PUNCTUATION: Final = ".,;:!?…*_~'’&"
_HOSTS: Final = {"vk.ru": "vk.com", "m.vk.com": "vk.com", "m.vk.ru": "vk.com", "vkontakte.ru": "vk.com"}
"""What is the same site by another name."""

# 15 digits: what a number in JSON holds exactly
_KIND: Final = "(?P<{0}>id|club|public|event)(?P<{0}_number>[1-9][0-9]{{0,14}})"
_MENTION: Final = re.compile(
    # names of communities have brackets in them, too
    rf"\[{_KIND.format('full')}(?::[^|\[\]\s]{{0,64}})?\|(?:[^\[\]]|\[[^\[\]|]*\])+\]"
    rf"|(?<![\w@*/])[@*]{_KIND.format('short')}(?!\w)(?:[ ]?\([^()]{{1,100}}\))?"
)

_GAP: Final = r"[ \u00a0\u202f.‐‑‒–—-]{0,3}"
# not within another number or a Latin name, nor behind a dot of these; but `тел.8` and `тел8` are usual
_BEGINNING: Final = r"(?<![^\W_а-яё]|[_+=/])(?<![\da-z]\.)"
_END: Final = r"(?![^\W_а-яё]|_)(?!-\d)"
_PHONE: Final = re.compile(
    # 8 916 123-45-67, +79161234567, 8(916)1234567, 8 800 2000 600: the usual groups, in brackets, apart, or not
    rf"{_BEGINNING}(?<!\d[-–])(?P<prefix>\+ ?7|[78]){_GAP}(?P<area>\(\d{{3}}\)|\d{{3}}){_GAP}"
    rf"(?P<rest>\d{{3}}{_GAP}\d{{2}}{_GAP}\d{{2}}|\d{{4}}[ -]\d{{3}}){_END}"
    # (4752) 12-34-56: the area in brackets, of up to five digits
    rf"|{_BEGINNING}(?:(?P<prefix_2>\+ ?7|[78]){_GAP})?\((?P<area_2>\d{{3,5}})\)[ \u00a0]?"
    rf"(?P<rest_2>\d{{1,3}}(?:[ -]?\d{{2,3}}){{1,3}}){_END}"
    # 916 123-45-67: with nothing before it only in this form
    rf"|{_BEGINNING}(?<![\d][ -])(?P<area_3>\d{{3}})[ -](?P<rest_3>\d{{3}}-\d{{2}}-\d{{2}}){_END}",
    re.IGNORECASE,
)
_AREAS: Final = "34789"
"""With what an area begins: 7 is Kazakhstan's."""
_DIGITS: Final = re.compile(r"\D+")
_FEWEST_DIGITS: Final = re.compile(r"(?:\d\D{0,4}){9}\d")
"""Whether there may be a phone at all: ten digits that are not far from each other."""


class Contacts(NamedTuple):
    """What a text leads to, each once, in its order; and the text without all of that."""

    links: tuple[str, ...]
    """With scheme, host in lower case without www, and path."""
    phones: tuple[str, ...]
    """As +7 and ten digits."""
    mention_ids: tuple[int, ...]
    """VK's ids; negative for communities."""
    rest: str


def contacts_of(text: str) -> Contacts:
    """Find the contacts in a text.

    Links are those with a scheme, and what ends like a domain. Phones are Russian
    or Kazakh ones: ten digits that begin like an area, with +7, 7 or 8 before them or in one of the usual groups.
    """
    mention_ids: list[int] = []
    links: list[str] = []
    phones: list[str] = []

    def take_mention(found: re.Match[str]) -> str:
        kind, number = (
            (found["full"], found["full_number"]) if found["full"] else (found["short"], found["short_number"])
        )
        mention_ids.append(int(number) if kind == "id" else -int(number))
        return " "

    def take_link(found: re.Match[str]) -> str:
        link, left = _link_of(found)
        if link:
            links.append(link)
        return f" {left}"

    def take_phone(found: re.Match[str]) -> str:
        phone = _phone_of(found)
        if phone is None:
            return found[0]
        phones.append(phone)
        return " "

    if "[" in text or "@" in text or "*" in text:
        text = _MENTION.sub(take_mention, text)
    if "." in text or "://" in text:
        text = _LINK.sub(take_link, text)
    if _FEWEST_DIGITS.search(text):
        text = _PHONE.sub(take_phone, text)
    return Contacts(_some(links), _some(phones), tuple(dict.fromkeys(mention_ids))[:MOST_OF_A_KIND], text)


def _some(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:MOST_OF_A_KIND]


def _link_of(found: re.Match[str]) -> tuple[str | None, str]:
    """Return a link, and what follows it that only looked like a part of it; None is none."""
    scheme, host, path = found["scheme"] or "https://", found["host"] or found["bare"], found["path"] or ""
    path = path or found["bare_path"] or ""
    whole = host + path
    end, unopened = len(whole), whole.count(")") - whole.count("(")
    while end and (whole[end - 1] in _PUNCTUATION or (whole[end - 1] == ")" and unopened > 0)):
        end -= 1
        unopened -= whole[end] == ")"
    left = whole[end:]
    host, path = whole[: min(end, len(host))], whole[len(host) : end]
    name = host.rpartition("@")[2].lower().removeprefix("www.")
    if not re.search(r"\w", name):
        return None, left
    path = path.partition("#")[0] if not path.startswith("/#") else path
    path = "" if path == "/" else path
    return f"{scheme.lower()}{_HOSTS.get(name, name)}{path}"[:LONGEST_LINK], left


def _phone_of(found: re.Match[str]) -> str | None:
    parts = found.groupdict("")
    area = parts["area"] or parts["area_2"] or parts["area_3"]
    digits = _DIGITS.sub("", area + parts["rest"] + parts["rest_2"] + parts["rest_3"])
    has_plus = "+" in parts["prefix"] + parts["prefix_2"]
    is_bare = not has_plus and parts["prefix"] == "7" and _DIGITS.search(found[0]) is None
    # 11 digits in a row that begin with 7 are more likely a number of something
    if len(digits) != 10 or digits[0] not in _AREAS or is_bare or len(set(digits)) < 3:  # noqa: PLR2004
        return None
    return f"+7{digits}"
