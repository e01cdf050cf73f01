"""Makes `python -m app.cli` equivalent to `vk-comments`."""

from app.cli import main

if __name__ == "__main__":  # the processes of app.jobs.offload import this file, too
    main()
