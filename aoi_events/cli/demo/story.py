"""The steps of the demo, in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from aoi_events.cli.demo.timeline import Timeline
from aoi_events.client import ClientEventStream
from aoi_events.client.core.events import Activated, WakeUpReceived
from aoi_events.contracts.answers import NotificationAcceptedV1, NotificationStatusV1
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.publishing import Publisher
from aoi_events.testing.devices import FakeApp, FakeDevice

WITHIN: Final = 30.0
"""Seconds that one step of the demo may take."""
_MANY: Final = 10
_LARGE: Final = 1_500
_HEAD_START: Final = 0.5


@dataclass(slots=True)
class Story:
    """The demo with two devices, two apps and one backend."""

    timeline: Timeline
    phone: FakeDevice
    tablet: FakeDevice
    backend: Publisher
    run: str = field(default_factory=lambda: f"demo-{uuid4().hex[:8]}")
    """The start of the IDs of its notifications, so that none repeats that of another run."""

    async def play(self) -> None:
        """Play every step in order. Raises DemoFailed at the first that fails."""
        await self.register()
        mail, news = await self.install()
        await self.activate()
        await self.deliver(mail, news)
        await self.bridge(mail)
        await self.come_back(mail)
        await self.hedge(mail)
        await self.store(news)
        await self.expire(news)
        await self.change_identity(mail)

    async def register(self) -> None:
        """Register both AOI Clients."""
        tell = self.timeline
        with tell.scene("Two devices register"):
            ids = await asyncio.gather(
                *(d.client.until_registered(timeout=WITHIN) for d in self._devices)
            )
            for device, client in zip(self._devices, ids, strict=True):
                tell.say(device.name, f"is AOI Client {client}")
            tell.check(ids[0] != ids[1], "two devices got one AOI Client ID")
            tell.shown("two AOI Client IDs")

    async def install(self) -> tuple[FakeApp, FakeApp]:
        """Register an app on each device."""
        tell = self.timeline
        with tell.scene("Two apps register"):
            mail = await self.phone.install("org.example.mail", within=WITHIN)
            news = await self.tablet.install("org.example.news", within=WITHIN)
            for device, app in ((self.phone, mail), (self.tablet, news)):
                name = app.registration.fingerprint
                tell.say(device.name, f"{app.application} has a token, known as {name}")
            tell.check(mail.token != news.token, "two apps got one token")
            tell.shown("two Application Client Tokens")
        return mail, news

    async def activate(self) -> None:
        """Activate WebSocket and SMS, and prove the phone numbers."""
        tell = self.timeline
        with tell.scene("They activate WebSocket and SMS, at once"):
            await asyncio.gather(
                *(
                    d.client.until_channels({"websocket", "sms"}, timeout=WITHIN)
                    for d in self._devices
                ),
            )
            for device in self._devices:
                tell.say(device.name, f"claimed {device.number}, and sent the challenge back")
                tell.say(device.name, "active: " + ", ".join(sorted(device.client.channels)))
            tell.shown("both numbers proved by a challenge, two channels active each")

    async def deliver(self, mail: FakeApp, news: FakeApp) -> None:
        """Deliver ten notifications over the WebSocket."""
        tell = self.timeline
        with tell.scene(f"{_MANY} notifications, over the WebSocket"):
            sent = []
            for number in range(_MANY):
                app, device = (news, self.tablet) if number % 2 else (mail, self.phone)
                accepted = await self._send(app, f"n{number + 1}", f"message {number + 1}")
                read = await device.read(within=WITHIN)
                tell.check(read.channel == "websocket", f"it came over {read.channel}")
                tell.say(device.name, f"shows “{read.content.data}”, and acknowledges")
                sent.append(accepted.notification)
            for notification in sent:
                status = await self.backend.wait(notification, "delivered", timeout=WITHIN)
                by = status.deliveries[0].by
                tell.check(by == "device", f"{notification} was delivered by {by}")
            tell.shown(f"{len(sent)} delivered, each acknowledged by its device")

    async def bridge(self, mail: FakeApp) -> None:
        """Deliver by SMS while the data connection is silently dead."""
        tell = self.timeline
        with tell.scene("The phone's data connection dies without a word"):
            before = self.phone.client.events()
            self.phone.cut()
            tell.say("network", "the phone's link is cut; neither side is notified")
            accepted = await self._send(mail, "cut", "Where are you?")
            read = await self.phone.read(within=WITHIN)
            tell.check(read.channel == "sms", f"it came over {read.channel}, not by SMS")
            tell.say("phone", f"shows “{read.content.data}”, which came by SMS")
            status = await self.backend.wait(accepted.notification, "delivered", timeout=WITHIN)
            again = any(isinstance(event, Activated) for event in before.pending())
            tell.check(not again, "the phone activated its channels again")
            for hop in status.deliveries[0].story:
                detail = f" ({hop.detail})" if hop.detail else ""
                tell.say("AOI Server", f"{hop.what} {hop.channel or ''}{detail}")
            tell.shown("reached by SMS, with no new activation")

    async def come_back(self, mail: FakeApp) -> None:
        """Fetch content that is too large for SMS once the connection is back."""
        tell = self.timeline
        with tell.scene("Too large for SMS: a wake-up now, the content on return"):
            text = "x" * _LARGE
            smsc_before = self.phone.client.events()
            accepted = await self._send(mail, "large", text, shown=f"{_LARGE} octets")
            await _next(smsc_before, WakeUpReceived)
            tell.say("phone", "receives a wake-up by SMS: a notification waits")
            await self.phone.restore()
            tell.say("network", "the phone's link is back")
            read = await self.phone.read(within=WITHIN)
            tell.check(read.content.data == text, "the content is not the one that was sent")
            await self.backend.wait(accepted.notification, "delivered", timeout=WITHIN)
            await self.phone.client.until_connected(timeout=WITHIN)
            tell.shown(f"{_LARGE} octets fetched and acknowledged")

    async def hedge(self, mail: FakeApp) -> None:
        """Send an SMS only where the WebSocket did not deliver within its head start."""
        tell = self.timeline
        with tell.scene("Hedged: the connection has a head start, then SMS goes out, too"):
            quick = await self._send(mail, "quick", "Are you there?", hedge_after=5.0)
            await self.phone.read(within=WITHIN)
            status = await self.backend.wait(quick.notification, "delivered", timeout=WITHIN)
            tell.check(_sent(status) == ["websocket"], f"it was sent over {_sent(status)}")
            tell.say("phone", "acknowledges within the head start: no SMS, cost 0")
            self.phone.cut()
            tell.say("network", "the phone's link is cut; neither side is notified")
            hedged = await self._send(mail, "hedged", "It is urgent", hedge_after=_HEAD_START)
            read = await self.phone.read(within=WITHIN)
            tell.check(read.channel == "sms", f"it came over {read.channel}, not by SMS")
            tell.say("phone", f"shows “{read.content.data}”, which came by SMS")
            await self.phone.restore()
            tell.say("network", "the phone's link is back")
            status = await self.backend.wait(hedged.notification, "delivered", timeout=WITHIN)
            tell.check(_sent(status) == ["websocket", "sms"], f"it was sent over {_sent(status)}")
            delivery = status.deliveries[0]
            channel, cost = delivery.channel, delivery.cost
            tell.say("AOI Server", f"delivered over {channel}; sent over 2 channels, cost {cost:g}")
            await self.phone.client.until_connected(timeout=WITHIN)
            tell.shown(f"acknowledged in time: no SMS; silent: SMS after {_HEAD_START:g} s")

    async def store(self, news: FakeApp) -> None:
        """Deliver a stored notification when a device without a channel returns."""
        tell = self.timeline
        with tell.scene("Nothing active: stored, and delivered on return"):
            events = self.tablet.client.events()
            await self.tablet.offer(ChannelOffer(type="websocket"))
            await _next(events, Activated)
            self.tablet.cut()
            tell.say("tablet", "has no SMS any more, and its link is cut")
            accepted = await self._send(news, "stored", "Welcome back")
            await self.backend.wait(accepted.notification, "stored", timeout=WITHIN)
            tell.say("AOI Server", "nothing can reach the tablet: stored")
            await self.tablet.restore()
            tell.say("network", "the tablet's link is back")
            read = await self.tablet.read(within=WITHIN)
            tell.say("tablet", f"shows “{read.content.data}”")
            await self.backend.wait(accepted.notification, "delivered", timeout=WITHIN)
            tell.shown("stored, then delivered when the tablet came back")

    async def expire(self, news: FakeApp) -> None:
        """Expire a notification whose time to live ends while the device is unreachable."""
        tell = self.timeline
        with tell.scene("Too late: an expired notification is reported"):
            self.tablet.cut()
            accepted = await self._send(news, "late", "Only for a second", ttl=1)
            status = await self.backend.wait(accepted.notification, "expired", timeout=WITHIN)
            tell.say("AOI Server", f"reports: {status.deliveries[0].state}")
            await self.tablet.restore()
            tell.shown("expired, and the backend knows")

    async def change_identity(self, mail: FakeApp) -> None:
        """Change the user of a device: a new AOI Client ID, and the old token is invalid."""
        tell = self.timeline
        with tell.scene("Another user: a new AOI Client ID, the old token ends"):
            old_id, old_token = self.phone.client.client_id, mail.token
            events = self.phone.client.events()
            await self.phone.offer(ChannelOffer(type="websocket"))
            await _next(events, Activated)
            self.phone.cut()
            waiting = await self._send(mail, "private", "For the earlier user only")
            await self.backend.wait(waiting.notification, "stored", timeout=WITHIN)
            tell.say("AOI Server", "holds it until the phone comes back: stored")
            changed = asyncio.create_task(self.phone.change_user("tel:+15550199", within=WITHIN))
            await self.phone.restore()
            await changed
            new_id, token = self.phone.client.client_id, mail.token
            tell.check(new_id != old_id, "the new user got the earlier one's AOI Client ID")
            tell.say("phone", f"is AOI Client {new_id} now")
            refused = await self.backend.send(old_token, "for the earlier user")
            tell.check(not refused.deliveries, "the old token still works")
            tell.say("AOI Server", f"the old token: {refused.rejected[0].code}")
            await self.phone.client.until_connected(timeout=WITHIN)
            accepted = await self.backend.send(token, "for the new user")
            read = await self.phone.read(within=WITHIN)
            tell.check(read.content.data == "for the new user", "it shows the earlier user's")
            await self.backend.wait(accepted.notification, "delivered", timeout=WITHIN)
            status = await self.backend.wait(waiting.notification, "failed", timeout=WITHIN)
            reason = status.deliveries[0].reason
            tell.check(reason == "reassigned", f"what waited failed as {reason}")
            tell.check(mail.unread == 0, "the phone has the earlier user's notification")
            tell.shown("new ID, new token; what waited for the earlier user never came")

    @property
    def _devices(self) -> tuple[FakeDevice, FakeDevice]:
        return (self.phone, self.tablet)

    async def _send(
        self,
        app: FakeApp,
        name: str,
        text: str,
        *,
        ttl: int = 300,
        shown: str | None = None,
        hedge_after: float | None = None,
    ) -> NotificationAcceptedV1:
        who = app.application.rpartition(".")[2]
        self.timeline.say(who, f"sends {shown or f'“{text}”'}")
        accepted = await self.backend.send(
            app.token,
            text,
            notification=f"{self.run}-{name}",
            ttl=ttl,
            mode=None if hedge_after is None else Mode.HEDGED,
            hedge_after=hedge_after,
        )
        self.timeline.check(bool(accepted.deliveries), f"refused: {accepted.rejected}")
        return accepted


def _sent(status: NotificationStatusV1) -> list[str | None]:
    """The channels over which the first delivery was sent."""
    return [hop.channel for hop in status.deliveries[0].story if hop.what == "sent"]


async def _next(events: ClientEventStream, kind: type[Activated] | type[WakeUpReceived]) -> None:
    async with asyncio.timeout(WITHIN):
        async for event in events:
            if isinstance(event, kind):
                return
