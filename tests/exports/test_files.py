"""New files: counted and hashed while they are written, compressed on request, never incomplete without an error."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from app.exports.files import FileFacts, NewFile, sink_of
from app.exports.options import Compression
from tests.processes import environment


def unpacked(data: bytes, compression: Compression | None) -> bytes:
    if compression is Compression.GZIP:
        return gzip.decompress(data)
    if compression is Compression.ZSTD:
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data


@pytest.mark.parametrize("compression", [None, *Compression])
def test_size_and_hash_are_those_of_the_file(tmp_path: Path, compression: Compression | None) -> None:
    written: list[FileFacts] = []
    for name in ("one", "two"):
        file = NewFile(tmp_path / name)
        sink = sink_of(file, compression)
        for part in (b"a", b"", b"bc" * 1_000_000):
            assert sink.write(part) == len(part)
        sink.close()
        is_closed = [file.closed]
        facts = file.finish()
        assert [*is_closed, file.closed] == [False, True]
        data = (tmp_path / name).read_bytes()
        assert (facts.bytes, facts.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert unpacked(data, compression) == b"a" + b"bc" * 1_000_000
        written.append(facts)
    assert written[0] == written[1]


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        NewFile(path)
    assert path.read_bytes() == b"mine"


def test_data_after_the_end_is_dropped(tmp_path: Path) -> None:
    file = NewFile(tmp_path / "file")
    file.write(b"a")
    file.flush()
    file.abandon()
    assert file.write(b"bc") == 2
    assert file.tell() == 1
    file.abandon()
    assert (tmp_path / "file").read_bytes() == b"a"


FILL = """
import resource, sys
from pathlib import Path
from app.exports.files import NewFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
file = NewFile(Path(sys.argv[1]))
try:
    file.write(b"x" * 3_000_000)
    file.finish()
except OSError as error:
    file.abandon()
    print(error.errno)
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "file"
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-c", FILL, str(path)], env=environment(), capture_output=True, text=True, check=True
    )
    assert os.strerror(int(done.stdout)) == "File too large"
