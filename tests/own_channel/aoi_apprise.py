"""The channel ``apprise``: services that end at people, by https://github.com/caronc/apprise."""

import re
from datetime import datetime

from apprise import Apprise
from pydantic import BaseModel, ConfigDict, SecretStr

from aoi_events import channels


class Settings(BaseModel):
    """``AOI_CHANNELS__APPRISE__SERVICES__CHAT='slack://TOKEN/{target}'``, and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    services: dict[str, SecretStr] = {}  # URLs of Apprise; a device picks one, and a target


class AppriseChannel(channels.RequestChannel[tuple[str, str]]):
    def __init__(self, services: dict[str, SecretStr]) -> None:
        super().__init__("apprise", within=5.0, at_once=8, each=1)
        self.services = services

    def lane(self, item: channels.Item) -> str:
        return str(item.parameters.get("service"))

    def prepare(self, item: channels.Item, now: datetime) -> tuple[str, str]:
        if (url := self.services.get(self.lane(item))) is None:
            raise channels.CannotSend("this service is not offered here", closes_channel=True)
        text = "There is a notification for you."
        if isinstance(item, channels.ChallengeItem):
            text = f"Your code is {item.code}"
        elif not item.wake_up and item.content.encoding == "utf-8":
            text = item.content.data
        return url.get_secret_value().replace("{target}", str(item.parameters["target"])), text

    async def submit(self, prepared: tuple[str, str]) -> channels.Verdict:
        service = Apprise()
        if service.add(prepared[0]) and await service.async_notify(body=prepared[1]):
            return channels.Verdict(channels.OutcomeKind.ACCEPTED, "taken")
        return channels.Verdict(channels.OutcomeKind.REFUSED, "not taken", works=False)


class ApprisePlugin(channels.ChannelPlugin):
    type, settings_model = "apprise", Settings

    def traits(self, settings: Settings) -> channels.ChannelTraits:
        return channels.ChannelTraits("apprise", False, ack_within=12.0, needs_proof=True)

    def offer(self, parameters: channels.OfferParameters, settings: Settings) -> channels.Offered:
        ours = "|".join(map(re.escape, settings.services)) or "(?!)"
        offered = channels.texts("apprise", parameters, service=ours, target=r"(?a)[\w@+-]{1,64}")
        return channels.Offered(offered, "{service} {target}".format(**offered))

    async def connect(self, settings: Settings) -> AppriseChannel:
        return AppriseChannel(settings.services)


plugin = ApprisePlugin()
