"""The wheel is complete: it runs the demo in an environment that contains only its requirements."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.processes import open_directory
from tests.timeouts import WAIT_SECONDS

ROOT = Path(__file__).parents[2]
SOURCES = ("app", "schema", "simulator", "migrations", "pyproject.toml", "README.md", "LICENSE")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this process's settings, and return its output."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "PIP_CONFIG_FILE") if name in os.environ}
    result = subprocess.run(  # noqa: S603 - constant commands
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=2 * WAIT_SECONDS,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_runs_the_demo(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    run(
        sys.executable,
        *PIP,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        source,
        cwd=tmp_path,
    )
    [wheel] = tmp_path.glob("*.whl")
    contents = set(zipfile.ZipFile(wheel).namelist())
    assert {"schema/schema.graphql", "app/py.typed", "simulator/server.py", "migrations/env.py"} <= contents
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "app" / "pages").rglob("*") if path.is_file()}
    assert pages <= contents

    with open_directory() as directory:
        run(sys.executable, "-m", "venv", directory / "venv", cwd=directory)
        python = directory / "venv" / "bin" / "python"
        requirements = ("--no-deps", "--require-hashes", "-r", ROOT / "requirements.txt")
        # not compiled: the demo needs few of the files
        run(python, *PIP, "install", "--no-compile", *requirements, cwd=directory)
        run(python, *PIP, "install", "--no-compile", "--no-deps", wheel, cwd=directory)
        run(python, *PIP, "check", cwd=directory)
        printed = run(directory / "venv" / "bin" / "vk-comments", "demo", "--once", "--comments", "100", cwd=directory)
        assert "100 comments" in printed
        assert list((directory / ".data").glob("*.csv"))
