"""Reserves ports until a test's server listens on them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

PORTS = range(20_000, 30_000)
"""Below the ephemeral ports of systems, so that no outgoing connection occupies a reserved port."""
_numbers = count()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a TCP port that is not in use; other tests, also in other processes, get other ports meanwhile.

    A UDP socket with the same number is the reservation, and leaves the TCP port to the server of the test.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as reservation:
        yield next(port for port in _candidates() if _is_free(port) and _is_bound(reservation, port))


def _candidates() -> Iterator[int]:
    # in ascending order, so that a port with lingering connections from its last use comes last
    for _ in PORTS:
        yield PORTS[next(_numbers) % len(PORTS)]
    raise RuntimeError(f"Of the ports {PORTS.start} to {PORTS.stop - 1} none is free.")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _is_bound(reservation: socket.socket, port: int) -> bool:
    try:
        reservation.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
