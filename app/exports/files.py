"""New files: written once from the front, and known by size and SHA-256 when they are done."""

import gzip
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import zstandard

from app.exports.options import Compression

BUFFER_BYTES = 1 << 20
GZIP_LEVEL = 6
ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a file that was written: its size and its SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


class NewFile:
    """A file that is written from its beginning to its end. What is read of it later is what was counted and hashed.

    It is as much of a file as zipfile, gzip and pyarrow need; one cannot go back in it.

    Raises:
        FileExistsError: it is there already.
        OSError: of any write, and of `finish`, when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=BUFFER_BYTES)
        self._hash = hashlib.sha256()
        self._size = 0
        self._is_abandoned = False

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        if self._is_abandoned:
            return len(data)
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Leave it to the buffer when it is written: those who write small parts flush after each of them."""

    def finish(self) -> FileFacts:
        """Bring all of it to the disk and return what it is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileFacts(self._size, self._hash.hexdigest())

    def abandon(self) -> None:
        """Close it as it is. What is still written is dropped: zipfile, for one, closes what it has begun later on."""
        self._is_abandoned = True
        # closing writes what is left, which fails on a full disk: that has been reported already
        with suppress(OSError):
            self._file.close()


class Sink(Protocol):
    """Where bytes go, until it is closed."""

    def write(self, data: bytes, /) -> int:
        """Take all of these bytes."""

    def close(self) -> None:
        """Write what is left to write. The file behind it stays open."""


class _Plain:
    """Bytes as they are."""

    def __init__(self, file: NewFile) -> None:
        self.write = file.write

    def close(self) -> None:
        """Do nothing: nothing is left."""


def sink_of(file: NewFile, compression: Compression | None) -> Sink:
    """Return what packs bytes into a file. The same bytes make the same file, as it holds neither name nor time."""
    if compression is Compression.GZIP:
        packed = gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=cast(BinaryIO, file), mtime=0)
        return cast(Sink, packed)
    if compression is Compression.ZSTD:
        packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        return cast(Sink, packer.stream_writer(cast(BinaryIO, file), closefd=False))
    return _Plain(file)
