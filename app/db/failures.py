"""Classifies failures of PostgreSQL by SQLSTATE as transient or not, for all modules that use it.

Source: PostgreSQL 18, appendix A. Processes that only read and write rows import
this module, so it imports nothing.
"""

TRANSIENT = (
    "08",  # the connection failed
    "25006",  # the database is read-only: a standby, or a provider's answer to a full disk
    "25P03",  # a transaction was idle for too long
    "25P04",  # a transaction took too long
    "40",  # rolled back: serialization failures, deadlocks
    "53",  # no disk space, memory or connections left
    "55P03",  # a lock is not available
    "57P0",  # shutdown, start-up, crash
    "58000",  # a failure of the operating system
    "58030",  # an I/O error of its files
)
"""Prefixes of the SQLSTATEs of transient failures: the same statement may succeed later."""
_SLOW = {
    "25006": "the database is read-only",
    "53100": "the disk is full",
    "53200": "there is not enough memory",
    "53400": "a limit of its configuration is reached",
    "58000": "the operating system failed",
    "58030": "its files cannot be read or written",
}
"""Transient failures that usually last until an operator has acted: SQLSTATE -> meaning."""
SOON_SECONDS = 1.0
LATER_SECONDS = 10.0


def sqlstate_of(error: BaseException | None) -> str:
    """Return the SQLSTATE of an exception, of the driver's exception that it wraps, or of a cause; "" without one."""
    while error is not None:
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if state:
            return str(state)
        error = error.__cause__
    return ""


def is_transient(state: str) -> bool:
    """Return whether a statement that failed with this SQLSTATE may succeed later."""
    return state.startswith(TRANSIENT)


def retry_after_seconds(state: str) -> float:
    """Return the wait in seconds before a statement that failed with this SQLSTATE is retried."""
    return LATER_SECONDS if state in _SLOW else SOON_SECONDS


def meaning_of(state: str) -> str | None:
    """Return the meaning of a SQLSTATE for an operator; None unless it concerns the server's resources."""
    return _SLOW.get(state)
