"""The features of a text: all results of the analysis of a single text."""

from collections.abc import Sequence
from typing import NamedTuple

from app.analysis.contacts import contacts_of
from app.analysis.duplicates import bands_of
from app.analysis.languages import language_of
from app.analysis.moods import mood_of
from app.analysis.terms import terms_of


class Features(NamedTuple):
    """The features of one text."""

    language: str
    """ISO 639-1, or und."""
    terms: list[str]
    links: list[str]
    phones: list[str]
    mention_ids: list[int]
    """Negative for communities."""
    mood: int
    """The sentiment, -1, 0 or 1: a weak signal."""
    bands: list[int]
    """For the detection of near-duplicates; empty for a short text."""


def features_of(texts: Sequence[str]) -> list[Features]:
    """Analyse texts, in order. Takes about 0.2 s for 2,000 comments: do not call it in the event loop."""
    return [_features(text) for text in texts]


def _features(text: str) -> Features:
    contacts = contacts_of(text)
    rest = contacts.rest
    return Features(
        language_of(rest),
        terms_of(rest),
        list(contacts.links),
        list(contacts.phones),
        list(contacts.mention_ids),
        mood_of(rest),
        bands_of(rest),
    )
