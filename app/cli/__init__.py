"""The command line: `vk-comments`. Errors are one line and an exit code."""

from app.cli.commands import main

__all__ = ["main"]
