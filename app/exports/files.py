"""New files: written once from beginning to end; their size and SHA-256 are known at the end."""

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
    """A finished file: its size and its SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


class NewFile:
    """A file that is written from beginning to end, so size and hash are those of the finished file.

    It has the methods that zipfile, gzip and pyarrow need, without seeking.

    Raises:
        FileExistsError: the file already exists.
        OSError: any write, or `finish`, fails, for example because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=BUFFER_BYTES)
        self._hash = hashlib.sha256()
        self._size = 0
        self._is_abandoned = False

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size

    def write(self, data: bytes, /) -> int:
        """Write all bytes; after `abandon`, discard them."""
        if self._is_abandoned:
            return len(data)
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: callers flush after each small part, which would defeat the buffer."""

    def finish(self) -> FileFacts:
        """Write all data to the disk, close the file and return its size and hash."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileFacts(self._size, self._hash.hexdigest())

    def abandon(self) -> None:
        """Close the file as it is. Discard later writes: zipfile, for example, writes when it is closed later."""
        self._is_abandoned = True
        # Closing writes the buffer, which fails on a full disk: that error has already been reported.
        with suppress(OSError):
            self._file.close()


class Sink(Protocol):
    """A destination of bytes."""

    def write(self, data: bytes, /) -> int:
        """Write all of these bytes."""

    def close(self) -> None:
        """Write the remaining data. The underlying file stays open."""


class _Plain:
    """A sink without compression."""

    def __init__(self, file: NewFile) -> None:
        self.write = file.write

    def close(self) -> None:
        """Do nothing: no data is buffered."""


def sink_of(file: NewFile, compression: Compression | None) -> Sink:
    """Return a sink that compresses into a file. The result is reproducible: it contains neither name nor time."""
    if compression is Compression.GZIP:
        writer = gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=cast(BinaryIO, file), mtime=0)
        return cast(Sink, writer)
    if compression is Compression.ZSTD:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        return cast(Sink, compressor.stream_writer(cast(BinaryIO, file), closefd=False))
    return _Plain(file)
