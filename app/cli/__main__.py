"""Lets `python -m app.cli` be the same as `vk-comments`."""

from app.cli import main

if __name__ == "__main__":  # processes that compute for this one run this file, too
    main()
