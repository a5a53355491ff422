"""The output of the demo: a line for each event, and a table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aoi_events.errors import AoiError
from aoi_events.testing.diary import DidNotHappen

_COLOURS: Final = {
    "phone": "cyan",
    "tablet": "magenta",
    "mail": "blue",
    "news": "blue",
    "AOI Server": "green",
    "SMSC": "yellow",
    "network": "red",
}


class DemoFailed(AoiError):
    """A step of the demo failed."""


@dataclass(slots=True)
class _Scene:
    title: str
    shown: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Timeline:
    """Prints each event as it happens, and the result of each step."""

    console: Console
    started: float = field(default_factory=time.monotonic)
    scenes: list[_Scene] = field(default_factory=list)

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """One step of the demo. Raises DemoFailed where it fails."""
        scene = _Scene(title)
        self.console.print(f"\n[bold]{len(self.scenes) + 1}. {title}[/]")
        begun = time.monotonic()
        try:
            yield
        except (AoiError, DidNotHappen, TimeoutError) as error:
            raise DemoFailed(
                f"step {len(self.scenes) + 1} did not happen ({title}): "
                f"{str(error) or 'nothing came in time'}"
            ) from error
        scene.seconds = time.monotonic() - begun
        scene.shown = self._last
        self.scenes.append(scene)

    _last: str = ""

    def say(self, who: str, text: str, *, mark: str = "·") -> None:
        """Print one event."""
        colour = _COLOURS.get(who, "white")
        elapsed = time.monotonic() - self.started
        self.console.print(
            f"[dim]{elapsed:7.3f} s[/]  {mark} [{colour}]{who:<10}[/]  {escape(text)}",
            soft_wrap=True,
        )

    def shown(self, text: str) -> None:
        """Print what the step has shown, and add it to the table."""
        self._last = text
        self.say("", text, mark="[green]✓[/]")

    def check(self, condition: bool, what: str) -> None:
        """Raise DemoFailed with ``what`` unless ``condition`` is true."""
        if not condition:
            raise DemoFailed(what)

    def summary(self) -> None:
        """Print the table of all steps."""
        table = Table(title="\nResults", title_justify="left", title_style="bold")
        table.add_column("")
        table.add_column("step")
        table.add_column("proved")
        table.add_column("seconds", justify="right")
        for scene in self.scenes:
            table.add_row("[green]✓[/]", scene.title, scene.shown, f"{scene.seconds:.2f}")
        self.console.print(table)
        total = time.monotonic() - self.started
        self.console.print(
            f"[bold green]All {len(self.scenes)} steps happened[/] in {total:.1f} s."
        )
