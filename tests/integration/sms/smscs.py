"""Two SMSCs that are not ours, under one face: smpp34's server, and npm's ``smpp`` run by node."""

from __future__ import annotations

import asyncio
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, Final

from aoi_events.testing import LoopbackSmsc, Reply
from aoi_events.testing.smsc import ShortMessageReceived
from tests.support.limits import WITHIN

_NODE: Final = Path(__file__).with_name("node")


class Smsc(ABC):
    """What a test does with an SMSC; `submissions` are all that came, accepted or not."""

    host: str
    port: int

    @property
    @abstractmethod
    def submissions(self) -> list[ShortMessageReceived]:
        """Every submission, in order."""

    @abstractmethod
    async def script(self, *replies: Reply) -> None:
        """Answer the next submissions so."""

    @abstractmethod
    async def standard(self, reply: Reply) -> None:
        """Answer so what no script covers."""

    @abstractmethod
    async def submitted(self, number: int) -> None:
        """Return once so many submissions have come."""

    @abstractmethod
    async def bound(self, number: int) -> None:
        """Return once exactly so many sessions are bound."""

    @abstractmethod
    async def say(self, text: str) -> None:
        """Deliver a receipt, in text, to every session."""

    @abstractmethod
    async def cut(self) -> None:
        """Reset every connection."""

    @abstractmethod
    async def go_down(self) -> None:
        """Listen no more, and reset every connection."""

    @abstractmethod
    async def come_back(self) -> None:
        """Listen again, on the same port."""


class Smpp34Smsc(Smsc):
    """The loopback SMSC that we ship."""

    def __init__(self, smsc: LoopbackSmsc) -> None:
        self._smsc = smsc
        self.host, self.port = smsc.host, smsc.port

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Smsc]:
        """One, while the block runs."""
        async with LoopbackSmsc() as smsc:
            yield cls(smsc)

    @property
    def submissions(self) -> list[ShortMessageReceived]:
        """Every submission, in order."""
        return self._smsc.submissions

    async def script(self, *replies: Reply) -> None:
        """Answer the next submissions so."""
        self._smsc.script(*replies)

    async def standard(self, reply: Reply) -> None:
        """Answer so what no script covers."""
        self._smsc.default = reply

    async def submitted(self, number: int) -> None:
        """Return once so many submissions have come."""
        await self._smsc.submitted(number, WITHIN)

    async def bound(self, number: int) -> None:
        """Return once exactly so many sessions are bound."""
        await self._smsc.bound(number, WITHIN)

    async def say(self, text: str) -> None:
        """Deliver a receipt, in text, to every session."""
        await self._smsc.say(text.encode(), esm_class=0x04)

    async def cut(self) -> None:
        """Reset every connection."""
        self._smsc.cut()

    async def go_down(self) -> None:
        """Listen no more, and reset every connection."""
        await self._smsc.go_down()

    async def come_back(self) -> None:
        """Listen again, on the same port."""
        await self._smsc.come_back()


class NodeSmsc(Smsc):
    """npm's ``smpp`` behind ``node/smsc.js``, which says what it is told to."""

    host = "127.0.0.1"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._submissions: list[ShortMessageReceived] = []
        self._sessions = 0
        self._enquiries = 0
        self._changed = asyncio.Condition()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Smsc]:
        """One, while the block runs."""
        node = shutil.which("node")
        ready = node is not None and (_NODE / "node_modules").is_dir()
        assert ready, "this test needs Node.js and npm's smpp: run compose/browser"
        process = await asyncio.create_subprocess_exec(
            str(node),
            str(_NODE / "smsc.js"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        smsc = cls(process)
        reading = asyncio.create_task(smsc._read())
        try:
            smsc.port = (await smsc._do("listen"))["port"]
            yield smsc
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await reading

    @property
    def submissions(self) -> list[ShortMessageReceived]:
        """Every submission, in order."""
        return self._submissions

    async def script(self, *replies: Reply) -> None:
        """Answer the next submissions so."""
        await self._do("script", replies=[asdict(reply) for reply in replies])

    async def standard(self, reply: Reply) -> None:
        """Answer so what no script covers."""
        await self._do("standard", reply=asdict(reply))

    async def submitted(self, number: int) -> None:
        """Return once so many submissions have come."""
        await self._until(lambda: len(self._submissions) >= number)

    async def bound(self, number: int) -> None:
        """Return once exactly so many sessions are bound."""
        await self._until(lambda: self._sessions == number)

    async def enquired(self) -> None:
        """Return once somebody has asked whether the line still lives."""
        await self._until(lambda: self._enquiries > 0, within=WITHIN)

    async def say(self, text: str) -> None:
        """Deliver a receipt, in text, to every session."""
        await self._do("say", text=text)

    async def cut(self) -> None:
        """Reset every connection."""
        await self._do("cut")

    async def go_down(self) -> None:
        """Listen no more, and reset every connection."""
        await self._do("leave")

    async def come_back(self) -> None:
        """Listen again, on the same port."""
        await self._do("listen")

    async def expect_password(self, password: str) -> None:
        """Refuse every bind with another one."""
        await self._do("password", value=password)

    async def _until(self, condition: Callable[[], bool], *, within: float = WITHIN) -> None:
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    async def _do(self, name: str, **rest: Any) -> dict[str, Any]:
        number = next(self._numbers)
        done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = done
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "do": name, **rest}) + "\n"
        self._process.stdin.write(line.encode())
        async with asyncio.timeout(WITHIN):
            return await done

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "done" in said:
                self._waiting.pop(said["done"]).set_result(said)
                continue
            async with self._changed:
                if said["event"] == "bound":
                    self._sessions = said["count"]
                elif said["event"] == "enquired":
                    self._enquiries += 1
                else:
                    self._submissions.append(
                        ShortMessageReceived(
                            said["number"],
                            said["sender"],
                            bytes.fromhex(said["user_data"]),
                            said["message_id"],
                        )
                    )
                self._changed.notify_all()


SMSCS: Final = {"smpp34": Smpp34Smsc.running, "node": NodeSmsc.running}
"""How to run each, by name."""
