"""Enables TCP keepalive, so that the system detects connections whose other end is gone."""

import os
import socket

import asyncpg
from asyncpg.pool import PoolConnectionProxy

SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
"""Idle seconds before TCP probes the other end, seconds between probes, their number; ms that sent data may take."""


def enable_keepalive(connection: "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]") -> None:
    """Let the system close a connection whose other end has vanished, within about half a minute.

    A cut cable or a crashed machine sends nothing: without keepalive, a statement
    or a LISTEN would wait for hours.
    """
    sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]  # noqa: SLF001 - asyncpg has no option for it; a connection in use has a transport
    if sock.family == socket.AF_UNIX:
        return
    # uvloop's sockets do not support setsockopt, so set the options on a duplicate handle of the same socket.
    with socket.socket(fileno=os.dup(sock.fileno())) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in SILENCE.items():
            if option := getattr(socket, name, None):  # not every system supports all of them
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
