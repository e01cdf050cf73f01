"""The words of a full text search, in all their forms."""

import re

from app.analysis.word_forms import word_forms

MOST_WORDS = 10
"""How many words of a search match in all forms; further words match as PostgreSQL stems them."""
_WORD = re.compile(r"(?<!\w)(?<!\w-)[а-яё]{2,}(?!-?\w)", re.IGNORECASE)
"""A word of Russian letters that is not part of something longer; also a word that a minus excludes."""


def forms_of_search(search: str) -> tuple[tuple[str, ...], ...]:
    """Return the Russian words of a search that have several forms: each followed by its other forms, with ё as е.

    PostgreSQL's stemmer only looks at endings: it treats `кредит` as a verb, so that
    it does not find `кредиты`, and does not relate `люди` and `человек`.
    """
    words = dict.fromkeys(match.group() for match in _WORD.finditer(search))
    forms = (tuple(dict.fromkeys(form.replace("ё", "е") for form in word_forms(word))) for word in words)
    return tuple(each for each in forms if len(each) > 1)[:MOST_WORDS]
