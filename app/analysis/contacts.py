"""Finds contacts in texts: links, phone numbers, and mentions of people and communities.

Each contact is normalized, so that equal ones are equal however they are written. VK's ids and screen names are not
resolved: `@durov` does not count as a mention, because only VK knows whose name it is.
"""

import re
from typing import Final, NamedTuple

MOST_OF_A_KIND: Final = 50
"""How many contacts of a kind are kept per text, the first ones: an ordinary comment does not have more."""
LONGEST_LINK: Final = 500
"""In characters; longer links are cut."""

_ENDINGS: Final = (
    "com|net|org|info|biz|ru|su|ua|by|kz|uz|am|ge|md|lv|lt|ee|de|fr|it|pl|eu|uk|us|io|me|ly|be|cc|tv|gg|gl|co|ai|to|"
    "app|dev|pro|online|site|store|shop|club|space|website|top|xyz|link|live|fun|vip|icu|click|blog|art|moscow|tatar"
)
_RUSSIAN_ENDINGS: Final = "рф|рус|онлайн|сайт|москва|дети|бел|укр|қаз"
_ENDINGS_OF_BOTH: Final = "com|net|org|su"
"""Latin endings of names in Russian letters; no Russian sentence begins with them (`текст.com` without a space)."""
_LATIN_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ANY_LABEL: Final = "[a-zа-яё0-9](?:[a-zа-яё0-9-]{0,61}[a-zа-яё0-9])?"
# A comma or semicolon before the next link ends this link.
_REST: Final = (
    r"(?:(?![,;](?:https?://|www\.|[a-z0-9-]{1,63}\.(?:com|ru|me|cc|net|org)\b))"
    r"[^\s<>\"«»“”|\[\]{}\\^`])"
)
_LINK: Final = re.compile(
    rf"(?P<scheme>https?://)(?P<host>[^\s/?#<>\"«»“”|\[\]{{}}\\^`]{{1,255}})(?P<path>{_REST}*)"
    # Without a scheme, a link must end like a domain, and be neither within a word nor after the @ of an address.
    rf"|(?<![\w@./])(?<![\w.]-)(?P<bare>(?:(?:{_LATIN_LABEL}\.){{1,5}}(?:{_ENDINGS})"
    rf"|(?:{_ANY_LABEL}\.){{1,5}}(?:{_RUSSIAN_ENDINGS}|{_ENDINGS_OF_BOTH}))"
    rf"(?![\w@-])(?!\.\w)(?::\d{{2,5}}(?![\w@]))?)(?P<bare_path>(?:[/?#]{_REST}*)?)",
    re.IGNORECASE,
)
_PUNCTUATION: Final = ".,;:!?…*_~'’&"
_HOSTS: Final = {"vk.ru": "vk.com", "m.vk.com": "vk.com", "m.vk.ru": "vk.com", "vkontakte.ru": "vk.com"}
"""Other names of the same site."""

# 15 digits: JSON clients read such numbers exactly.
_KIND: Final = "(?P<{0}>id|club|public|event)(?P<{0}_number>[1-9][0-9]{{0,14}})"
_MENTION: Final = re.compile(
    # Names of communities may contain brackets.
    rf"\[{_KIND.format('full')}(?::[^|\[\]\s]{{0,64}})?\|(?:[^\[\]]|\[[^\[\]|]*\])+\]"
    rf"|(?<![\w@*/])[@*]{_KIND.format('short')}(?!\w)(?:[ ]?\([^()]{{1,100}}\))?"
)

_GAP: Final = r"[ \u00a0\u202f.‐‑‒–—-]{0,3}"
# Not within another number or a Latin name, nor after a dot of these; but `тел.8` and `тел8` are usual.
_BEGINNING: Final = r"(?<![^\W_а-яё]|[_+=/])(?<![\da-z]\.)"
_END: Final = r"(?![^\W_а-яё]|_)(?!-\d)"
_PHONE: Final = re.compile(
    # 8 916 123-45-67, +79161234567, 8(916)1234567, 8 800 2000 600: the usual groups, with or without separators
    rf"{_BEGINNING}(?<!\d[-–])(?P<prefix>\+ ?7|[78]){_GAP}(?P<area>\(\d{{3}}\)|\d{{3}}){_GAP}"
    rf"(?P<rest>\d{{3}}{_GAP}\d{{2}}{_GAP}\d{{2}}|\d{{4}}[ -]\d{{3}}){_END}"
    # (4752) 12-34-56: an area code of up to five digits in brackets
    rf"|{_BEGINNING}(?:(?P<prefix_2>\+ ?7|[78]){_GAP})?\((?P<area_2>\d{{3,5}})\)[ \u00a0]?"
    rf"(?P<rest_2>\d{{1,3}}(?:[ -]?\d{{2,3}}){{1,3}}){_END}"
    # 916 123-45-67: without a prefix only in this form
    rf"|{_BEGINNING}(?<![\d][ -])(?P<area_3>\d{{3}})[ -](?P<rest_3>\d{{3}}-\d{{2}}-\d{{2}}){_END}",
    re.IGNORECASE,
)
_AREAS: Final = "34789"
"""The first digits of area codes: 7 is Kazakhstan's."""
_DIGITS: Final = re.compile(r"\D+")
_FEWEST_DIGITS: Final = re.compile(r"(?:\d\D{0,4}){9}\d")
"""A fast pre-check for phone numbers: ten digits that are close to each other."""


class Contacts(NamedTuple):
    """The contacts in a text, each once, in order; and the rest of the text without them."""

    links: tuple[str, ...]
    """With scheme, host in lower case without www, and path."""
    phones: tuple[str, ...]
    """+7 and ten digits."""
    mention_ids: tuple[int, ...]
    """VK's ids; negative for communities."""
    rest: str


def contacts_of(text: str) -> Contacts:
    """Find the contacts in a text.

    Links have a scheme or end like a domain. Phones are Russian or Kazakh numbers: ten digits that begin like an area
    code, with the prefix +7, 7 or 8 or in one of the usual groups.
    """
    mention_ids: list[int] = []
    links: list[str] = []
    phones: list[str] = []

    def take_mention(match: re.Match[str]) -> str:
        kind, number = (
            (match["full"], match["full_number"]) if match["full"] else (match["short"], match["short_number"])
        )
        mention_ids.append(int(number) if kind == "id" else -int(number))
        return " "

    def take_link(match: re.Match[str]) -> str:
        link, left = _link_of(match)
        if link:
            links.append(link)
        return f" {left}"

    def take_phone(match: re.Match[str]) -> str:
        phone = _phone_of(match)
        if phone is None:
            return match[0]
        phones.append(phone)
        return " "

    if "[" in text or "@" in text or "*" in text:
        text = _MENTION.sub(take_mention, text)
    if "." in text or "://" in text:
        text = _LINK.sub(take_link, text)
    if _FEWEST_DIGITS.search(text):
        text = _PHONE.sub(take_phone, text)
    return Contacts(_first(links), _first(phones), tuple(dict.fromkeys(mention_ids))[:MOST_OF_A_KIND], text)


def _first(contacts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(contacts))[:MOST_OF_A_KIND]


def _link_of(match: re.Match[str]) -> tuple[str | None, str]:
    """Return the normalized link (None if the match is not a link) and the trailing text that is not part of it."""
    scheme, host, path = match["scheme"] or "https://", match["host"] or match["bare"], match["path"] or ""
    path = path or match["bare_path"] or ""
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


def _phone_of(match: re.Match[str]) -> str | None:
    parts = match.groupdict("")
    area = parts["area"] or parts["area_2"] or parts["area_3"]
    digits = _DIGITS.sub("", area + parts["rest"] + parts["rest_2"] + parts["rest_3"])
    has_plus = "+" in parts["prefix"] + parts["prefix_2"]
    is_bare = not has_plus and parts["prefix"] == "7" and _DIGITS.search(match[0]) is None
    # 11 digits in a row that begin with 7 are more likely another kind of number.
    if len(digits) != 10 or digits[0] not in _AREAS or is_bare or len(set(digits)) < 3:  # noqa: PLR2004 - digits of a phone number
        return None
    return f"+7{digits}"
