"""Draws the diagrams of the documentation as SVG: ``python docs/diagrams.py`` writes them anew.

They are committed, because the README shows one of them, and a test holds them current.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Final

INK: Final = "#1f2933"
QUIET: Final = "#627d98"
FILL: Final = "#e8f1fa"
WARM: Final = "#fdf3dc"


class Drawing:
    """An SVG picture of boxes, arrows and text."""

    def __init__(self, width: int, height: int, title: str) -> None:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-size="13" '
            'font-family="system-ui, sans-serif">'
        )
        tip = (
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{INK}"/>'
            "</marker></defs>"
        )
        paper = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
        self._parts = [head, f"<title>{escape(title)}</title>", tip, paper]

    def text(self, x: float, y: float, label: str, *, anchor: str = "middle", **more: str) -> None:
        """A line of text, whose baseline is at ``y``."""
        extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        fill = (
            ' stroke="#ffffff" stroke-width="6" paint-order="stroke"'
            if "fill" in more
            else f' fill="{INK}"'
        )
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{fill}{extra}>{escape(label)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, label: str, *, fill: str = FILL
    ) -> None:
        """A box with lines of text in its middle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{fill}" stroke="{INK}"/>'
        )
        lines = label.split("\n")
        top = y + height / 2 + 4.5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 16 * number, line)

    def arrow(
        self, *points: tuple[float, float], label: str = "", dashed: bool = False,
        both: bool = False, dy: float = -5, dx: float = 0, anchor: str = "middle",
    ) -> None:  # fmt: skip
        """A line through the points with a tip; ``label`` stands by its first piece."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        style = (' stroke-dasharray="5 4"' if dashed else "") + (
            ' marker-start="url(#tip)"' if both else ""
        )
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}" marker-end="url(#tip)"{style}/>'
        )
        if label:
            (x1, y1), (x2, y2) = points[:2]
            for number, line in enumerate(label.split("\n")):
                self.text(
                    (x1 + x2) / 2 + dx, (y1 + y2) / 2 + dy + 14 * number, line,
                    anchor=anchor, fill=QUIET, font_size="12",
                )  # fmt: skip

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A thin grey line."""
        self._parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{QUIET}" '
            'stroke-dasharray="2 4"/>'
        )

    def svg(self) -> str:
        """The file."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def overview() -> str:
    """Who speaks to whom: the README's picture."""
    d = Drawing(860, 430, "A backend sends through RabbitMQ or HTTP; workers route to the device")
    d.box(20, 40, 130, 50, "your backend", fill=WARM)
    d.box(20, 330, 130, 60, "device with an\nAOI Client", fill=WARM)
    d.box(200, 120, 110, 40, "endpoint")
    d.box(200, 340, 110, 40, "gateway")
    d.box(
        360,
        30,
        130,
        360,
        "RabbitMQ\n\nrequests,\noutcomes,\nevents,\none queue\nper worker",
        fill=WARM,
    )
    inner = ["registration", "activation", "notification", "outcome", "deadlines"]
    rows = [(30 + 54 * number, name) for number, name in enumerate(inner)]
    for y, name in [*rows, (340, "sms, webhook,\nwebpush, yours")]:
        d.box(545, y, 180, 44, name)
        d.arrow((490, y + 22), (545, y + 22), both=True)
    d.box(770, 30, 74, 260, "store\n\nPostgre-\nSQL or\nSQLite", fill=WARM)
    for y in (52, 106, 160, 214, 268):
        d.arrow((725, y), (770, y), both=True)
    d.arrow((150, 65), (360, 65), label="AMQP", dy=-8)
    d.arrow((85, 90), (85, 140), (200, 140), label="HTTP", dx=22, dy=6)
    d.arrow((310, 140), (360, 140), both=True)
    d.arrow((310, 360), (360, 360), both=True)
    d.arrow((150, 352), (200, 352), both=True, label="", dashed=False)
    d.text(175, 322, "WebSocket", fill=QUIET, font_size="12")
    d.arrow((630, 384), (630, 414), (85, 414), (85, 390), dashed=True)
    label = "short message, webhook, Web Push: reaches the device when its connection does not"
    d.text(360, 406, label, fill=QUIET, font_size="12")
    return d.svg()


def life() -> str:
    """The life of a notification as a sequence: a connection that is cut, then a short message."""
    names = ["backend", "notification", "store", "gateway", "device", "outcome", "deadlines", "sms"]
    left, apart = 70, 124
    at = {name: left + apart * number for number, name in enumerate(names)}
    steps: list[tuple[str, str, str, bool]] = [
        ("backend", "notification", "1 notification.send", False),
        ("notification", "store", "2 delivery, plan, deadline", False),
        ("notification", "backend", "3 notification.accepted.v1", True),
        ("notification", "gateway", "4 delivery.batch.v1", False),
        ("gateway", "device", "5 frame: notification", False),
        ("device", "gateway", "6 frame: ack", True),
        ("gateway", "outcome", "7 outcome.batch.v1", False),
        ("outcome", "store", "8 merge: delivered", False),
        ("outcome", "backend", "9 event notification.delivered", True),
        ("", "", "If no acknowledgement comes (the connection was cut without a sign)", False),
        ("deadlines", "store", "10 claim what is due, decide, commit", False),
        ("deadlines", "sms", "11 next step", False),
        ("sms", "device", "12 short message by the SMSC", False),
        ("sms", "outcome", "13 accepted, receipt", False),
        ("outcome", "store", "14 merge: delivered by provider", False),
        ("outcome", "backend", "15 event notification.delivered", True),
    ]
    height = 110 + 36 * len(steps)
    d = Drawing(left + apart * 7 + 80, height, "Life of a notification")
    for name in names:
        d.line(at[name], 60, at[name], height - 20)
        outside = name in ("backend", "device", "store")
        d.box(at[name] - 50, 20, 100, 40, name, fill=WARM if outside else FILL)
    y = 95
    for start, end, label, dashed in steps:
        if start:
            d.arrow((at[start], y), (at[end], y), dashed=dashed)
            d.text((at[start] + at[end]) / 2, y - 9, label, font_size="12", fill=QUIET)
        else:
            d.line(20, y - 12, left + apart * 7 + 60, y - 12)
            d.text(30, y + 7, label, anchor="start", font_weight="600", fill=INK)
        y += 36
    return d.svg()


def states() -> str:
    """The states of a delivery and the facts that change them."""
    d = Drawing(820, 400, "States of a delivery")
    d.box(60, 80, 120, 50, "sending")
    d.box(60, 270, 120, 50, "stored")
    names = ["delivered", "expired", "failed", "replaced", "cancelled"]
    for number, name in enumerate(names):
        d.box(560, 30 + 74 * number, 130, 44, name, fill=WARM)
    d.arrow((120, 20), (120, 80), label="a channel can be used", dx=75, dy=-2)
    d.arrow((20, 360), (20, 295), (60, 295), label="")
    d.text(30, 378, "no channel can be used", anchor="start", fill=QUIET, font_size="12")
    d.arrow((95, 130), (95, 270), label="plan\nexhausted", dx=-34, dy=-2)
    d.arrow((150, 270), (150, 130), label="the device is back", dx=58, dy=4)
    d.arrow((180, 95), (560, 52), label="the device acknowledged,\nor a provider accepted", dy=-34)
    for start in (112, 290):
        for number in range(1, 5):
            d.arrow((180, start), (560, 52 + 74 * number))
    d.text(370, 376, "time to live over · a reason to fail · topic · withdrawn", fill=QUIET,
           font_size="12")  # fmt: skip
    for number in (1, 2, 3, 4):
        y = 52 + 74 * number
        d.arrow((690, y), (740 + 12 * number, y), (740 + 12 * number, 52), (690, 52), dashed=True)
    d.text(812, 18, "late acknowledgement of the device", anchor="end", fill=QUIET, font_size="12")
    return d.svg()


DIAGRAMS: Final[dict[str, Callable[[], str]]] = {
    "overview.svg": overview,
    "life-of-a-notification.svg": life,
    "delivery-states.svg": states,
}


def write(folder: Path) -> None:
    """Write those that are not current."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DIAGRAMS.items():
        file, svg = folder / name, draw()
        if not file.exists() or file.read_text(encoding="utf-8") != svg:
            file.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "_static")
