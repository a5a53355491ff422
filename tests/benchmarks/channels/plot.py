"""The comparison as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aoi_events.errors import ConfigurationError
from tests.benchmarks.channels.comparing import WAYS, Cell

_COLOURS: Final = ("#7f7f7f", "#1f77b4", "#d95f02", "#7b3294")
_MARKS: Final = ("o", "s", "^", "D")
_LINES: Final = ("-", "-", "--", ":")
"""Where two lie on each other, both are seen."""
_PANELS: Final[tuple[tuple[str, Callable[[Cell], float | None], bool], ...]] = (
    ("delivered, % of notifications", lambda cell: 100 * cell.delivered, False),
    ("time to the app, p99, seconds", lambda cell: cell.p99, True),
    ("cost of a notification, units (one per SMS)", lambda cell: cell.cost, False),
)


def draw(cells: Sequence[Cell], file: Path, *, title: str) -> None:
    """Write the picture in the format that ``file`` ends with (``.svg``, ``.png``, ``.pdf``).

    Raises ConfigurationError where matplotlib cannot write such a file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The same numbers give the same file; letters stay letters.
    matplotlib.rcParams.update({"svg.hashsalt": "aoi-events", "svg.fonttype": "none"})
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for place, (what, value, logarithmic) in zip(figure.subplots(1, 3), _PANELS, strict=True):
        for way, colour, mark, line in zip(WAYS, _COLOURS, _MARKS, _LINES, strict=True):
            mine = [cell for cell in cells if cell.way == way.name]
            place.plot(
                [100 * cell.failing for cell in mine],
                [value(cell) for cell in mine],
                color=colour,
                linestyle=line,
                marker=mark,
                markersize=5,
                label=way.name,
            )
        place.set_title(what, fontsize=10)
        place.set_xlabel("dead data connections, %", fontsize=9)
        place.grid(visible=True, alpha=0.3)
        if logarithmic:
            place.set_yscale("log")
    figure.axes[0].legend(fontsize=9)
    metadata = {"Date": None} if file.suffix == ".svg" else None
    try:
        figure.savefig(file, metadata=metadata)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no picture at {file}: {error}") from None
