"""``aoi demo``: what a newcomer runs first."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from aoi_events.cli.demo.command import demo
from aoi_events.cli.demo.story import Story
from aoi_events.cli.demo.timeline import DemoFailed, Timeline
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from tests.support.commands import Ran, environment, run
from tests.support.limits import WITHIN

ROOT = Path(__file__).parents[2]

STEPS = (
    "1. Two devices register",
    "2. Two apps register",
    "3. They activate WebSocket and SMS, at once",
    "4. 10 notifications, over the WebSocket",
    "5. The phone's data connection dies without a word",
    "6. Too large for SMS: a wake-up now, the content on return",
    "7. Hedged: the connection has a head start, then SMS goes out, too",
    "8. Nothing active: stored, and delivered on return",
    "9. Too late: an expired notification is reported",
    "10. Another user: a new AOI Client ID, the old token ends",
)
FACTS = (
    r"✓ +two AOI Client IDs",
    r"✓ +two Application Client Tokens",
    r"SMSC +\d+ octets to \+15550101",
    r"phone +active: sms, websocket",
    r"tablet +active: sms, websocket",
    r"✓ +both numbers proved by a challenge, two channels active each",
    r"phone +shows “message 1”, and acknowledges",
    r"tablet +shows “message 10”, and acknowledges",
    r"✓ +10 delivered, each acknowledged by its device",
    r"phone +shows “Where are you\?”, which came by SMS",
    r"AOI Server +not acknowledged websocket",
    r"✓ +reached by SMS, with no new activation",
    r"phone +receives a wake-up by SMS: a notification waits",
    r"✓ +1500 octets fetched and acknowledged",
    r"phone +acknowledges within the head start: no SMS, cost 0",
    r"phone +shows “It is urgent”, which came by SMS",
    r"AOI Server +delivered over sms; sent over 2 channels, cost 1",
    r"✓ +acknowledged in time: no SMS; silent: SMS after 0\.5 s",
    r"AOI Server +nothing can reach the tablet: stored",
    r"tablet +shows “Welcome back”",
    r"✓ +stored, then delivered when the tablet came back",
    r"AOI Server +reports: expired",
    r"AOI Server +the old token: token_revoked",
    r"✓ +new ID, new token; what waited for the earlier user never came",
    r"Results",
    r"All 10 steps happened in \d+\.\d s\.",
)


def _whole_story(ran: Ran) -> None:
    """Check that all of it happened, in order."""
    assert ran.code == 0, ran.out + ran.err
    place = 0
    for step in STEPS:
        found = ran.out.find(f"\n{step}\n", place)
        assert found >= 0, f"{step!r} is missing or out of order in:\n{ran.out}"
        place = found
    for fact in FACTS:
        assert re.search(fact, ran.out), f"{fact!r} is missing in:\n{ran.out}"


def test_the_whole_story(tmp_path: Path) -> None:
    """In a folder and with settings of its own it plays every step in order, exit 0."""
    ran = run("demo", cwd=tmp_path, timeout=WITHIN)
    _whole_story(ran)
    assert ran.err == ""
    assert not list(tmp_path.iterdir()), "the demo leaves nothing behind"


def test_twice_on_one_store(tmp_path: Path) -> None:
    """A second playing on a store with the first one's traces is no repeat of it.

    With the workers' logs beside it, no content, token or challenge code is in them.
    """
    store = f"sqlite:///{tmp_path / 'kept.sqlite3'}"
    _whole_story(run("demo", "--store", store, cwd=tmp_path, timeout=WITHIN))
    ran = run("demo", "--verbose", "--store", store, cwd=tmp_path, timeout=WITHIN)
    _whole_story(ran)
    assert "started" in ran.err
    for secret in ("message 1", "Welcome back", "Where are you", "It is urgent", "xxxxxxxx"):
        assert secret not in ran.err
    assert not re.search(r"\bk1\.[A-Za-z0-9_-]{20,}", ran.err + ran.out)


@pytest.mark.parametrize(
    "options, told",
    [
        (["--broker", "amqp://a:hidden@127.0.0.1:1/"], "connecting to 127.0.0.1:1"),
        (["--store", "postgresql://a:hidden@127.0.0.1:1/a"], "the store cannot be reached"),
        (
            ["--store", "mysql://a:hidden@127.0.0.1/a"],
            "AOI_STORE: the store cannot be 'mysql'; use sqlite",
        ),
        (
            ["--broker", "kafka://127.0.0.1"],
            "settings: AOI_BROKER: no broker speaks 'kafka'; give amqp://",
        ),
    ],
)
def test_parts_that_cannot_be_had(tmp_path: Path, options: list[str], told: str) -> None:
    """An unreachable or impossible part ends it, with what was tried and without passwords."""
    ran = run("demo", *options, cwd=tmp_path, timeout=WITHIN)
    assert ran.code == 1
    assert f"error: the demo could not start: {told}" in ran.err
    assert "hidden" not in ran.err
    assert "happened" not in ran.out


def test_a_step_that_does_not_happen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the SMSC refuses the numbers, step 3 fails with exit code 1, and says why."""
    smsc = LoopbackSmsc(Reply.bad_number())
    monkeypatch.setattr("aoi_events.testing.server.LoopbackSmsc", lambda: smsc)
    activate = Story.activate

    async def activate_once_refused(story: Story) -> None:
        await smsc.submitted(2)
        monkeypatch.setattr("aoi_events.cli.demo.story.WITHIN", 0.5)
        await activate(story)

    monkeypatch.setattr(Story, "activate", activate_once_refused)
    with pytest.raises(SystemExit) as ended:
        demo(broker="memory://", store="", verbose=False)
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "the demo failed: step 3 did not happen (They activate WebSocket and SMS" in said.err
    assert "active channels sms, websocket" in said.err
    assert "happened in" not in said.out


def test_a_failing_check_names_its_step() -> None:
    """What a scene did not show is told with the scene's number and title."""
    timeline = Timeline(Console(quiet=True))
    with timeline.scene("It works"):
        timeline.shown("it")
    with (
        pytest.raises(DemoFailed, match=r"step 2 did not happen \(It breaks\): no light"),
        timeline.scene("It breaks"),
    ):
        timeline.check(False, "no light")
    with pytest.raises(DemoFailed, match="nothing came in time"), timeline.scene("It hangs"):
        raise TimeoutError


async def test_on_the_real_parts(rabbit_url: str, postgres_url: str) -> None:
    """``make demo BROKER=… STORE=…`` plays the same on a RabbitMQ and a PostgreSQL."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["make", "demo", f"BROKER={rabbit_url}", f"STORE={postgres_url}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    _whole_story(Ran(done.returncode, done.stdout, done.stderr))
