"""What a program sees of the logs of the Publisher that it embeds."""

from __future__ import annotations

import json
import subprocess
import sys

from aoi_events.broker.memory import NOT_DURABLE
from tests.support.limits import WITHIN

PROGRAM = """
import asyncio, json, logging, sys

class Kept(logging.Handler):
    records = []
    def emit(self, record):
        self.records.append(record)

def settings():
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {each.name: (each.level, each.propagate, len(each.handlers)) for each in loggers}

async def main():
    from aoi_events import Publisher
    from aoi_events.broker.open import open_broker
    from aoi_events.errors import BrokerUnavailable
    from aoi_events.platform.retry import RetryPolicy
    async with Publisher("memory://shop"):
        pass
    try:
        policy = RetryPolicy(first=0.01, most=0.01, attempts=2)
        await open_broker("amqp://shop:hidden@127.0.0.1:1/", retry_policy=policy)
    except BrokerUnavailable:
        pass

if sys.argv[1] == "configured":
    logging.getLogger().addHandler(Kept())
asyncio.run(main())
import structlog
ours = [each for each in Kept.records if each.name.split(".")[0] == "aoi_events"]
print(json.dumps({
    "loggers": {name: each for name, each in settings().items() if each != (0, True, 0)},
    "structlog": structlog.is_configured(),
    "records": [[each.getMessage(), getattr(each, "error", None)] for each in ours],
}))
"""


def run(logging: str) -> subprocess.CompletedProcess[str]:
    """Run the program, which configures its logging or does not."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, logging],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )


def test_the_program_that_embeds_it_has_its_logs() -> None:
    """Records go to the program's handler with their fields; no logger gets a handler or a level of
    ours, and nothing is printed beside.
    """
    ran = run("configured")
    assert ran.stderr == ""
    seen = json.loads(ran.stdout)
    root = seen["loggers"].pop("root")
    assert root == [30, True, 1]
    assert not [name for name in seen["loggers"] if name.startswith(("aoi", "structlog"))]
    assert seen["structlog"] is False
    refused = "connecting to 127.0.0.1:1: Connection refused"
    assert seen["records"] == [[NOT_DURABLE, None], ["broker_not_reached", refused]]
    assert "hidden" not in ran.stdout


def test_without_logging_warnings_are_printed_as_python_does() -> None:
    """One line each on standard error, by the standard library's handler of last resort."""
    ran = run("none")
    lines = ran.stderr.splitlines()
    ours = [line for line in lines if "creating transport" not in line]  # aiormq's
    assert ours == [NOT_DURABLE, "broker_not_reached"]
    assert "hidden" not in ran.stderr
