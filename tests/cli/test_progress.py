"""The progress bar's columns for the numbers that the server sends."""

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from app.cli.collect import _LeftColumn, _RateColumn


@pytest.mark.parametrize(
    ("rate", "left", "shown"),
    [(None, None, "  -:--"), (1234.5, 75.4, "1,234/s 1:15 left"), (0.0, 0.0, "  0:00 left")],
)
def test_columns(rate: float | None, left: float | None, shown: str) -> None:
    bar = Progress(_RateColumn(), _LeftColumn(), console=Console(file=StringIO()))
    bar.add_task("", rate=rate, left=left)
    [task] = bar.tasks
    parts = [column.render(task) for column in bar.columns if not isinstance(column, str)]
    assert " ".join(str(part) for part in parts).strip() == shown.strip()


def test_elapsed_time() -> None:
    bar = Progress(console=Console(file=StringIO()), get_time=iter([0.0, 0.0, 75.0, 75.0]).__next__)
    bar.update(bar.add_task("", total=5), completed=5)
    assert str(_LeftColumn().render(bar.tasks[0])) == "in 1:15"
