"""Lets the system notice connections whose other end has gone."""

import os
import socket
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
"""When TCP asks whether the other end is there, how often, and for how long it waits (ms) until sent data arrived."""


def notice_silence(connection: "asyncpg.Connection[Any] | PoolConnectionProxy[Any]") -> None:
    """Let the system close a connection whose other end has gone without a word, within about half a minute.

    A cable that is cut, or a machine that vanishes, sends nothing: without this
    a statement, or a LISTEN, would wait for it for hours.
    """
    sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]  # noqa: SLF001 - asyncpg has no option for it
    if sock.family == socket.AF_UNIX:
        return
    # uvloop's sockets know no options, so they are set on a second handle of the same one
    with socket.socket(fileno=os.dup(sock.fileno())) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in SILENCE.items():
            if option := getattr(socket, name, None):  # not every system has all of them
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
