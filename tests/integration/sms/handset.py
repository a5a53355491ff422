"""A telephone of few words: it reads what comes, and says only what a test wants."""

from __future__ import annotations

import base64
import hashlib
import secrets

from aoi_events import DeviceRequests
from aoi_events.contracts.answers import ChannelsActivatedV1, NotificationContentV1
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ChannelOffer,
    ConfirmChannelV1,
    DeactivateChannelsV1,
    FetchNotificationV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.oma_push.payload import ChallengePush, Payload
from aoi_events.testing import LoopbackSmsc
from tests.support.pushes import payloads_of


class Handset:
    """An AOI Client without a data connection, which acknowledges nothing by itself."""

    def __init__(self, requests: DeviceRequests, smsc: LoopbackSmsc, number: str) -> None:
        self.number = number
        self.client = ""
        self.token = ""
        self.requests = requests
        self._smsc = smsc
        octets = secrets.token_bytes(32)
        self.secret = base64.urlsafe_b64encode(octets).decode().rstrip("=")
        self._hash = hashlib.sha256(octets).hexdigest()
        self._sequence = 0
        self._read: list[bytes] = []

    async def register(self) -> None:
        """Become an AOI Client with one app."""
        request = RegisterClientV1(
            version=1, device="handset", identity=f"tel:{self.number}", secret_hash=self._hash
        )
        self.client = (await self.requests.register(request)).client
        app = RegisterApplicationV1(
            version=1,
            client=self.client,
            secret=self.secret,
            application="org.mail",
            sequence=self.next(),
        )
        self.token = (await self.requests.register_application(app)).token or ""

    async def offer(self, number: str | None = None) -> ChannelsActivatedV1:
        """Offer SMS to the number, and nothing else."""
        self.number = number or self.number
        offer = ChannelOffer(type="sms", parameters={"msisdn": self.number})
        request = ActivateChannelsV1(
            version=1,
            client=self.client,
            secret=self.secret,
            sequence=self.next(),
            offers=(offer,),
        )
        return await self.requests.activate_channels(request)

    async def withdraw(self) -> ChannelsActivatedV1:
        """Use SMS no more."""
        request = DeactivateChannelsV1(
            version=1,
            client=self.client,
            secret=self.secret,
            sequence=self.next(),
            channels=("sms",),
        )
        return await self.requests.deactivate_channels(request)

    async def confirm(self, code: str) -> ChannelsActivatedV1:
        """Say a code back. Raises RequestRefused."""
        request = ConfirmChannelV1(
            version=1, client=self.client, secret=self.secret, channel="sms", code=code
        )
        return await self.requests.confirm_channel(request)

    async def prove(self) -> None:
        """Offer the number and say the code back that comes there."""
        assert state_of(await self.offer()) == "pending"
        assert state_of(await self.confirm(await self.code())) == "active"

    async def read(self) -> Payload:
        """The next push, whatever number of short messages it takes."""
        while True:
            self._read.append((await self._smsc.receive(self.number)).user_data)
            if payloads := payloads_of(("SMSC", octets) for octets in self._read):
                self._read.clear()
                return payloads[0]

    async def code(self) -> str:
        """The code in the next short message, which must be a challenge."""
        payload = await self.read()
        assert isinstance(payload, ChallengePush), payload
        return payload.code

    async def fetch(self, delivery: str) -> NotificationContentV1:
        """The content behind a wake-up."""
        request = FetchNotificationV1(
            version=1, client=self.client, secret=self.secret, delivery=delivery
        )
        return await self.requests.fetch(request)

    @property
    def unread(self) -> int:
        """How many messages arrived and were not read."""
        return self._smsc.mailbox(self.number).qsize()

    def next(self) -> int:
        """The number of the next command."""
        self._sequence += 1
        return self._sequence


def state_of(answer: ChannelsActivatedV1) -> str:
    """Where the SMS channel stands: active, pending, or why it was not selected."""
    for selected in answer.selected:
        if selected.type == "sms":
            return selected.state
    return next(row.reason for row in answer.not_selected if row.type == "sms")
