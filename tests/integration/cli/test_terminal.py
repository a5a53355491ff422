"""``aoi up`` on a terminal: text to read, and where to connect at the end of the start."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import AOI, environment
from tests.support.limits import WITHIN

SETTINGS = {"AOI_GATEWAY__PORT": "0", "AOI_ENDPOINT__PORT": "0", "AOI_HEALTH__PORT": "0"}
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]")


class Terminal:
    """A terminal in which ``aoi up`` runs."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._master, slave = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [*AOI, "up"],
            cwd=folder,
            env=environment({"TERM": "xterm-256color", "NO_COLOR": "", **SETTINGS, **settings}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def read_until(self, text: str) -> list[str]:
        """The lines so far, once ``text`` is among them."""
        while text not in self.text:
            assert self._read(), f"it ended without {text!r}:\n{self.text}"
        return self.text.split("\r\n")

    def interrupt(self) -> int:
        """The exit code after an interrupt, as by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        while self._read():
            pass
        return self.process.wait(WITHIN)

    def close(self) -> None:
        """End the program if it runs."""
        self.process.kill()
        self.process.wait(WITHIN)
        os.close(self._master)

    def _read(self) -> bool:
        try:
            octets = os.read(self._master, 65_536)
        except OSError:  # how Linux says that no program has the terminal open
            return False
        self.text += octets.decode()
        return bool(octets)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[list[Terminal]]:
    """Those that a test opens; what runs in them is ended."""
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


def test_the_start_ends_with_addresses(terminals: list[Terminal], tmp_path: Path) -> None:
    """Where devices, senders and scrapers connect, in a line each, below logs that are text."""
    terminals.append(terminal := Terminal(tmp_path))
    lines = terminal.read_until("/metrics\r\n")
    assert COLOUR.search(terminal.text)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines if line]
    start = plain.index("Ready. Ctrl-C stops it.")
    assert [re.sub(r":\d+", ":PORT", line) for line in plain[start + 1 :]] == [
        "  devices connect at  ws://127.0.0.1:PORT/aoi",
        "  senders send to     http://localhost:PORT",
        "  metrics are at      http://127.0.0.1:PORT/metrics",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d \[(info|warning) +] ", line) for line in plain[:start])
    assert terminal.interrupt() == 0
    assert "drained" in terminal.text


@pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_colours_where_they_are_not_wanted(
    terminals: list[Terminal], tmp_path: Path, settings: dict[str, str]
) -> None:
    """NO_COLOR, or a terminal that has none."""
    terminals.append(terminal := Terminal(tmp_path, **settings))
    terminal.read_until("/metrics\r\n")
    assert not COLOUR.search(terminal.text)


def test_json_on_a_terminal_where_it_is_chosen(terminals: list[Terminal], tmp_path: Path) -> None:
    """AOI_LOG__FORMAT decides over the terminal; the lines for people come all the same."""
    terminals.append(terminal := Terminal(tmp_path, AOI_LOG__FORMAT="json"))
    lines = terminal.read_until("/metrics\r\n")
    start = next(number for number, line in enumerate(lines) if "Ready." in line)
    *_, started, hint = (json.loads(line) for line in lines[:start])
    assert (started["event"], hint["event"]) == ("started", "no_api_keys")
    assert started["devices"] in lines[start + 1]
    assert started["senders"] in lines[start + 2]
    assert started["metrics"] in lines[start + 3]


def test_text_off_a_terminal_where_it_is_chosen(tmp_path: Path) -> None:
    """AOI_LOG__FORMAT=console gives text without colours in a file; nothing is on standard output,
    where no person looks.
    """
    ran = subprocess.run(  # noqa: S603 - our own program
        [*AOI, "up"],
        cwd=tmp_path,
        env=environment({**SETTINGS, "AOI_LOG__FORMAT": "console", "AOI_STORE": "nonsense"}),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (78, "")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[error +] settings +error=.*", ran.stderr.splitlines()[-1]
    )
    assert "\x1b" not in ran.stderr
