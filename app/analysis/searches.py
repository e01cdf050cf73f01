"""The words of a full text search, in all their forms."""

import re

from app.analysis.word_forms import word_forms

MOST_WORDS = 10
"""So many words of a search are looked for in all forms; others as PostgreSQL stems them."""
_WORD = re.compile(r"(?<!\w)(?<!\w-)[а-яё]{2,}(?!-?\w)", re.IGNORECASE)
"""A word of Russian letters that is no part of something longer; a minus before it leaves it out."""


def forms_of_search(search: str) -> tuple[tuple[str, ...], ...]:
    """Return the Russian words of a search that have several forms: each with its others behind it, ё being е.

    PostgreSQL's stemmer goes by endings: it takes `кредит` for a verb, and finds
    no `кредиты` by it; of `люди` and `человек` it knows nothing.
    """
    words = dict.fromkeys(found.group() for found in _WORD.finditer(search))
    forms = (tuple(dict.fromkeys(form.replace("ё", "е") for form in word_forms(word))) for word in words)
    return tuple(each for each in forms if len(each) > 1)[:MOST_WORDS]
