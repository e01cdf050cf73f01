"""The expected failures of the domain: one named type each, with its facts.

    Fault
    ├── StartFailed              a process cannot start: says what to do
    ...
"""


class Fault(Exception):
    """An expected failure. Its message is a sentence for people and holds no secret."""


class StartFailed(Fault):
    """A process cannot start; the message says what is wrong and what to do about it."""
