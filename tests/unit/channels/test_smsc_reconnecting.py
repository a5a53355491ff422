"""The pauses between sessions with an SMSC."""

from __future__ import annotations

from aoi_events.channels.sms.reconnecting import ReconnectPause


def test_pauses_grow_while_sessions_are_short() -> None:
    """Doubled from the first to the longest, and again the first after a session that lasted."""
    pause = ReconnectPause(0.2, 1.0)
    assert [pause.after(0.9) for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert [pause.after(lasted) for lasted in (1.0, 0.0, 3_600.0)] == [0.2, 0.4, 0.2]
