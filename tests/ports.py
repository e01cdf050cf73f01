"""Lends ports that stay free until a server of a test takes them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

PORTS = range(20_000, 30_000)
"""Below the ports that systems give to connections by themselves, so that none of these takes a lent one."""
_numbers = count()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Lend a TCP port that nobody listens on; other tests, also of other processes, get other ones meanwhile.

    A UDP socket of the same number is the reservation, and leaves the TCP port to the server that the test starts.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as reservation:
        yield next(port for port in _candidates() if _is_free(port) and _is_bound(reservation, port))


def _candidates() -> Iterator[int]:
    # one after the other, so that a port which was just lent, and may have connections that linger, comes last
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
