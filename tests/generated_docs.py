"""Writes the generated parts of the documentation: `make docs`; a test compares them.

Generated parts are between `<!-- generated: NAME -->` and `<!-- end -->`; `.env.example` is generated as a whole.
"""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

from app.settings import Settings

ROOT = Path(__file__).parents[1]
DEFAULTS = {"database_url": "embedded PostgreSQL", "data_dir": "./.data", "vk_api_url": "https://api.vk.ru"}
"""How to show defaults whose value in the code is not informative."""
QUERY = (
    "app.main:create_app",
    "schema.transport.view:GraphQLView",
    "schema.wall:Post",
    "schema.wall:COMMENTS_BY_POST",
    "app.store.comments:comments_by_post",
)
JOB = (
    "schema.job_changes:JobMutation",
    "app.actions.start_collection:start_collection",
    "app.jobs.queue:enqueue",
    "app.jobs.engine:Queue",
    "app.jobs.worker:Worker",
    "app.work.collecting.collect_comments:collect_comments",
    "app.vk.client:VkClient",
    "app.store.comments:upsert_comments",
    "app.jobs.running_job:RunningJob",
    "app.feeds:JobFeeds",
    "app.jobs.follow:follow",
    "schema.job_progress:JobSubscription",
)


def settings_table() -> str:
    """Return a Markdown table of all settings."""
    rows = [
        f"| `{name.upper()}` | {_default(name, field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows])


def env_example() -> str:
    """Return an example of a .env file with all settings, each as a comment with its default."""
    head = "# All settings are optional. Remove the # before those that you change; docs/settings.md explains them.\n"
    lines = [
        f"# {field.description}\n#{name.upper()}={_value(field.default)}"
        for name, field in Settings.model_fields.items()
    ]
    return head + "\n" + "\n\n".join(lines) + "\n"


def layers() -> str:
    """Return a diagram of the layers, from the import contract: each imports only from those below."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rows = next(contract["layers"] for contract in contracts if contract["name"] == "Imports go down only")
    nodes = [f'  L{place}["{re.sub(" [|:] ", "<br>", row)}"]' for place, row in enumerate(rows)]
    arrows = [f"  L{place} --> L{place + 1}" for place in range(len(rows) - 1)]
    return "\n".join(["```mermaid", "flowchart TD", *nodes, *arrows, "```"])


def path(steps: tuple[str, ...]) -> str:
    """Return a diagram of the functions that a request passes through. Each step must exist in the code.

    Raises:
        AttributeError: a step does not exist.
        ImportError: its module does not exist.
    """
    nodes = []
    for place, step in enumerate(steps):
        module, name = step.split(":")
        getattr(importlib.import_module(module), name)
        nodes.append(f'  S{place}["{module}<br>{name}"]')
    arrows = [f"  S{place} --> S{place + 1}" for place in range(len(steps) - 1)]
    return "\n".join(["```mermaid", "flowchart LR", *nodes, *arrows, "```"])


def generated() -> dict[Path, str]:
    """Return the files with generated parts in their correct state."""
    parts = {"settings": settings_table(), "layers": layers(), "query": path(QUERY), "job": path(JOB)}
    files = {ROOT / ".env.example": env_example()}
    for file in (ROOT / "docs").glob("*.md"):
        text = file.read_text(encoding="utf-8")
        files[file] = re.sub(
            r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)",
            lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}",
            text,
            flags=re.DOTALL,
        )
    return files


def _default(name: str, value: Any) -> str:
    return DEFAULTS.get(name) or _value(value) or "none"


def _value(value: Any) -> str:
    if value is None or (not value and isinstance(value, tuple | dict)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    for target, contents in generated().items():
        target.write_text(contents, encoding="utf-8")
