"""Lets `python -m app.cli` be the same as `vk-comments`."""

from app.cli import main

main()
