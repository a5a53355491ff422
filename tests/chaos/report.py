"""A run as a table (Markdown, which is also read as text) and as a plot (SVG)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from tests.chaos.recovery import Recovery

PROMISED: Final = 10.0
"""Seconds within which deliveries flow again after a fault that leaves a majority."""
_INK, _GRID, _FIRST, _ALL, _DARK = "#1f2933", "#bcccdc", "#9fb3c8", "#2f6f9f", "#c0392b"
_LEFT, _WIDTH, _ROW, _TOP, _RIGHT = 200, 560, 34, 64, 90


@dataclass(frozen=True, slots=True)
class Report:
    """Numbers of one run; :class:`~tests.chaos.verdict.Verdict` explains them."""

    seed: int
    handling: str
    devices: int
    recoveries: Sequence[Recovery]
    counts: dict[str, int]

    @property
    def dark(self) -> int:
        """How many times a device was dark, over all faults."""
        return sum(each.dark for each in self.recoveries)

    @property
    def failures(self) -> list[str]:
        """What was promised and did not hold."""
        none = ("lost", "doubled", "ended workers")
        wrong = [f"{self.counts[name]} {name}" for name in none if self.counts.get(name)]
        wrong += [f"{self.dark} dark"] if self.dark else []
        slow = [each for each in self.recoveries if each.flows and each.all > PROMISED]
        return wrong + [f"{each.fault}: {each.all:.1f} s" for each in slow]

    def table(self) -> str:
        """The table of faults and that of notifications."""
        lines = [
            "| fault | lasted s | first device s | all devices s | dark devices |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {each.fault}{'' if each.flows else ' *'} | {each.lasted:.1f} "
                f"| {each.first:.1f} | {each.all:.1f} | {each.dark} |"
                for each in self.recoveries
            ),
            "",
            "| " + " | ".join(self.counts) + " |",
            "|" + "---:|" * len(self.counts),
            "| " + " | ".join(f"{count:,}" for count in self.counts.values()) + " |",
        ]
        return "\n".join(lines) + "\n"

    def svg(self) -> str:
        """Two bars for each fault: until some device, and until every device was served again."""
        most = max(PROMISED * 2, *(each.all for each in self.recoveries)) * 1.02
        scale = _WIDTH / most
        height = _TOP + _ROW * len(self.recoveries) + 30
        width = _LEFT + _WIDTH + _RIGHT
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-size="13" '
            f'font-family="system-ui, sans-serif" fill="{_INK}">'
        )
        parts = [
            head,
            "<title>Seconds until deliveries flow again, by fault</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            _text(12, 24, "Seconds until deliveries flow again", weight="600"),
            _key(_LEFT, 44, _FIRST, "to some device"),
            _key(_LEFT + 130, 44, _ALL, "to every device"),
            _key(_LEFT + 270, 44, _DARK, "devices stayed dark"),
        ]
        bottom = height - 26
        for at in _marks(most):
            x = _LEFT + at * scale
            dashes = ' stroke-dasharray="4 3"' if at == PROMISED else ""
            colour = _INK if at == PROMISED else _GRID
            parts.append(
                f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" '
                f'stroke="{colour}"{dashes}/>'
            )
            parts.append(_text(x, bottom + 16, f"{at:g}", anchor="middle"))
        for place, each in enumerate(self.recoveries):
            y = _TOP + _ROW * place
            name = f"{each.fault}{'' if each.flows else ' *'}"
            parts.append(_text(_LEFT - 8, y + 17, name, anchor="end"))
            parts.append(_bar(y + 3, each.first * scale, _FIRST))
            parts.append(_bar(y + 14, each.all * scale, _DARK if each.dark else _ALL))
            label = f"{each.all:.1f}" + (f" ({each.dark} dark)" if each.dark else "")
            parts.append(_text(_LEFT + each.all * scale + 5, y + 23, label))
        return "\n".join([*parts, "</svg>"]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``report.json``, ``report.md`` and ``report.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (folder / "report.md").write_text(self.table())
        (folder / "report.svg").write_text(self.svg())

    @classmethod
    def read(cls, folder: Path) -> Report:
        """What was written there."""
        read: dict[str, Any] = json.loads((folder / "report.json").read_text())
        return cls(**read | {"recoveries": [Recovery(**each) for each in read["recoveries"]]})


def _marks(most: float) -> list[float]:
    step = next(step for step in (5, 10, 20, 50, 100) if most / step <= 10 or step == 100)
    return sorted({PROMISED, *(float(at) for at in range(0, int(most) + 1, step))})


def _bar(y: float, length: float, colour: str) -> str:
    return f'<rect x="{_LEFT}" y="{y}" width="{max(length, 1):.1f}" height="11" fill="{colour}"/>'


def _key(x: float, y: float, colour: str, label: str) -> str:
    box = f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
    return box + _text(x + 16, y, label)


def _text(x: float, y: float, label: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(label)}</text>"
    )
