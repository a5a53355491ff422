"""The shape holds: imports only go down, decisions are pure, files stay small.

Each rule is tested twice: on the project, and on a copy into which a violation was planted, because
a rule that catches nothing looks the same as one that is kept.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aoi_events"
PURE = ("domain", "contracts", "oma_push", "client/core", "gateway/protocol")
LONGEST = 400


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package in ``root``, and over no other."""
    program = (
        "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"
    )
    return subprocess.run(  # noqa: S603 - our own interpreter, no input from outside
        [sys.executable, "-c", program, "--no-cache", "--config", "pyproject.toml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with its settings, to be spoiled."""
    shutil.copytree(PACKAGE, tmp_path / "aoi_events", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_only_go_down() -> None:
    """The floors and walls of pyproject.toml are kept."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


PLANTED = {
    "Floors: imports only go down, siblings do not import each other": {
        "up": ("domain/retry.py", "import aoi_events.ports.clock"),
        "out of a port": ("ports/clock.py", "import aoi_events.platform.retry"),
        "the domain in the codec": ("oma_push/wsp.py", "import aoi_events.domain.retry"),
        "up from the bottom": ("errors.py", "import aoi_events.contracts.base"),
        "sideways": ("store/queries.py", "import aoi_events.broker.open"),
        "sideways above": ("gateway/__init__.py", "import aoi_events.services.runtime.settings"),
        "up from the library": ("client/__init__.py", "import aoi_events.daemon.settings"),
        "up inside a function": (
            "contracts/base.py",
            "def f():\n    from aoi_events.domain import retry",
        ),
    },
    "Workers are independent; what they share lies below them": {
        "from a worker to another": (
            "services/outcome/handler.py",
            "import aoi_events.services.activation.channel_set",
        ),
        "from a shared room to a worker": (
            "services/clients/endings.py",
            "import aoi_events.services.registration.handler",
        ),
        "from the runtime to a shared room": (
            "services/runtime/pausing.py",
            "import aoi_events.services.delivery.release",
        ),
    },
    "The domain's rooms: a delivery has a plan, a plan has channels": {
        "a plan that knows deliveries": (
            "domain/planning/plans.py",
            "import aoi_events.domain.delivery.state",
        ),
    },
    "The gateway's protocol knows neither sockets nor workers": {
        "a socket in a protocol": (
            "gateway/protocol/window.py",
            "import aoi_events.gateway.sockets.server",
        ),
    },
    "The client's core does not know its shell": {
        "the shell in the client's core": (
            "client/core/state.py",
            "import aoi_events.client.shell.storage",
        ),
    },
    "Channels share base/ and nothing else": {
        "from a channel to another": (
            "channels/sms/routing.py",
            "import aoi_events.channels.webhook.signing",
        ),
        "from the shared part of channels to one": (
            "channels/base/concurrency.py",
            "import aoi_events.channels.sms.numbers",
        ),
    },
    "Only bootstrap, testing and cli choose adapters": {
        "an adapter in a service": ("services/runtime/pausing.py", "import aoi_events.store.types"),
        "an adapter in a gateway": ("gateway/workers/outbox.py", "import aoi_events.broker.open"),
    },
    "Decisions are pure: no I/O, no clock, no randomness, no tasks, no log": {
        "a library of sockets in a protocol": ("gateway/protocol/window.py", "import aiohttp"),
        "a task in the client's core": ("client/core/state.py", "import asyncio"),
        "impure": ("domain/planning/plans.py", "import asyncio"),
        "an implementation in a port": ("ports/clock.py", "import asyncio"),
    },
    "AMQP libraries stay in the broker": {
        "AMQP in a gateway": ("gateway/workers/outbox.py", "import aio_pika"),
    },
    "SQL stays in the store": {
        "SQL in a service": ("services/clients/unit_of_work.py", "import sqlalchemy"),
    },
    "The SMPP library stays in the fixtures": {
        "SMPP in its channel": ("channels/sms/pdu.py", "import smpp34"),
    },
    "Tokens of others are verified in the endpoint, and for identities": {
        "tokens in a gateway": ("gateway/sockets/server.py", "import jwt"),
    },
    "What signs and encrypts pushes stays in their channels": {
        "signing beside its channel": ("channels/base/concurrency.py", "import standardwebhooks"),
    },
    "Netlink stays in the daemon's network": {
        "Netlink in the client": ("client/shell/storage.py", "import pyroute2"),
    },
    "Prometheus stays in telemetry": {
        "Prometheus in a service": ("services/runtime/pausing.py", "import prometheus_client"),
    },
    "A device needs nothing of a server": {
        "a device that needs a server": (
            "daemon/json_lines.py",
            "import aoi_events.services.runtime.settings",
        ),
    },
    "Retries are in one file: only platform.retry imports tenacity": {
        "retries of its own in a broker": ("broker/open.py", "import tenacity"),
    },
    "Only the command line speaks to a terminal": {
        "a terminal in the daemon": ("daemon/json_lines.py", "import rich"),
    },
    "Test libraries stay in testing, and the launchers are nobody's library": {
        "a test library in the bootstrap": ("bootstrap/opening.py", "import pytest"),
        "a launcher in the bootstrap": ("bootstrap/opening.py", "import workers"),
    },
}
"""By contract: violations, each with the file that gets the import."""


def test_each_contract_has_a_planted_violation() -> None:
    """No contract of pyproject.toml is without a planted import that breaks it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [each["name"] for each in settings["tool"]["importlinter"]["contracts"]]
    assert sorted(contracts) == sorted(name for name, planted in PLANTED.items() if planted)


@pytest.mark.parametrize(
    "contract, where", [(name, where) for name, planted in PLANTED.items() for where in planted]
)
def test_a_planted_import_is_caught(contract: str, where: str, copy: Path) -> None:
    """An import that a contract forbids breaks that contract."""
    file, line = PLANTED[contract][where]
    spoiled = copy / "aoi_events" / file
    spoiled.write_text(f"{spoiled.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in result.stdout
    assert str(ROOT) not in result.stdout


IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "logging",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "socket",
        "sqlite3",
        "structlog",
        "subprocess",
        "threading",
        "time",
    }
)
IMPURE_NAMES = frozenset(
    {"now", "today", "utcnow", "uuid1", "uuid4", "urandom", "getrandbits", "time_ns", "monotonic"}
)
IMPURE_BUILTINS = frozenset({"input", "open", "print"})


def impurities(source: str) -> Iterator[str]:
    """What of a module reaches for the clock, for chance, for tasks, or for the world outside."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names):
                found = [module, *(name.name for name in names if name.name in IMPURE_NAMES)]
            case ast.Attribute(attr=attr) if attr in IMPURE_NAMES:
                found = [attr]
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                found = [name]
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                found = ["async"]
            case _:
                continue
        for name in found:
            top = name.partition(".")[0]
            if top in IMPURE_MODULES or name in IMPURE_NAMES | IMPURE_BUILTINS | {"async"}:
                yield f"line {getattr(node, 'lineno', 0)}: {name}"


def modules_of(*folders: str) -> list[Path]:
    """Every module of these folders."""
    return [file for folder in folders for file in sorted((PACKAGE / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    "file", modules_of(*PURE), ids=lambda file: str(file.relative_to(PACKAGE))[:-3]
)
def test_decisions_are_pure(file: Path) -> None:
    """No clock, no chance, no tasks, no log, no files: time and jitter are arguments."""
    assert not list(impurities(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from time import monotonic",
        "import random as dice",
        "import os.path",
        "from uuid import uuid4",
        "import logging.config",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\nat = datetime.now",
        "import secrets",
        "def f():\n    import asyncio",
        "async def f():\n    pass",
        "print('hello')",
        "text = open('/etc/hostname').read()",
    ],
)
def test_a_planted_impurity_is_caught(line: str) -> None:
    """Each way to reach for the world is noticed, in a real module of ours."""
    source = (PACKAGE / "domain" / "retry.py").read_text(encoding="utf-8")
    assert not list(impurities(source))
    assert list(impurities(f"{source}\n\n{line}\n"))


def implementations(source: str) -> Iterator[str]:
    """Functions of a port that do more than declare: beside its docstring a Protocol's method, or a
    property of a value, may return one expression.
    """
    tree = ast.parse(source)
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name, bases=bases, decorator_list=decorators):
                kinds = [ast.unparse(each).partition("(")[0] for each in (*bases, *decorators)]
                if not {"Protocol", "Enum", "StrEnum", "dataclass"} & set(kinds):
                    yield name
            case _:
                pass
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements = node.body[1:] if ast.get_docstring(node) else node.body
            if len(statements) > 1 or not all(isinstance(each, ast.Return) for each in statements):
                yield node.name


@pytest.mark.parametrize("file", modules_of("ports"), ids=lambda file: file.stem)
def test_ports_implement_nothing(file: Path) -> None:
    """A port has Protocols, and the values in their signatures."""
    assert not list(implementations(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "planted",
    [
        "def now() -> float: ...",
        "class SystemClock:\n    def now(self) -> float: ...",
        "class Clock(Protocol):\n    def now(self) -> float:\n        self.asked += 1",
        "class Dice(Protocol):\n    async def roll(self) -> int:\n        await self.wait()",
    ],
)
def test_a_planted_implementation_is_caught(planted: str) -> None:
    """A function, a class that is no Protocol, and a method with statements are each noticed."""
    source = (PACKAGE / "ports" / "clock.py").read_text(encoding="utf-8")
    assert list(implementations(f"{source}\n\n{planted}\n"))


def test_the_pure_folders_are_there() -> None:
    """A renamed folder would make these tests prove nothing."""
    for folder in PURE:
        assert len(modules_of(folder)) > 5


@pytest.mark.parametrize(
    "file", modules_of(""), ids=lambda file: str(file.relative_to(PACKAGE).with_suffix(""))
)
def test_files_fit_in_a_mind(file: Path) -> None:
    """No module is longer than 400 lines, and none is a drawer for leftovers."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert file.stem not in {"utils", "helpers", "common", "misc"}
