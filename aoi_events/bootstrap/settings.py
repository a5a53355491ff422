"""Settings: from the environment (``AOI_…``), a TOML file (``AOI_CONFIG``), and defaults."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aoi_events.bootstrap.setting_sources import (
    FILE,
    check_once,
    in_words_of,
    read_file,
    stripped,
    unknown_names,
)
from aoi_events.daemon.settings import ClientSettings
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ConfigurationError
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.broker_url import broker_urls
from aoi_events.platform.settings import (
    LEAST,
    Count,
    Host,
    Section,
    Span,
    from_json,
    host,
    without_booleans,
)
from aoi_events.telemetry.logs import LogFormat

if TYPE_CHECKING:
    from aoi_events.services.runtime.settings import Policies


class PolicySettings(Section):
    """The operator's choices; times in seconds."""

    connection_channels: Annotated[int, Field(ge=0, le=8)] = 1
    """Connection-oriented channels that one client may have active at once."""
    connectionless_channels: Annotated[int, Field(ge=0, le=8)] = 3
    """Connectionless channels that one client may have active at once."""
    backlog: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Notifications per client that are put off (stored, or to be tried again); more are failed as
    *backlog_full*."""
    release: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Stored notifications sent at once when a device comes back."""
    retry_first: Span = 1.0
    """Seconds before the first retry on a channel that refused for now; doubled each time."""
    retry_most: Span = 300.0
    """Longest pause between retries, in seconds."""
    poll: Annotated[float, Field(ge=LEAST, le=10)] = 0.2
    """Seconds between looks of the deadlines worker."""
    hold: Annotated[float, Field(ge=LEAST, le=300)] = 5.0
    """Seconds after which a change whose messages may not have left is published again."""
    clients_per_identity: Count = 50
    """New AOI Clients for one user identity within a day."""
    applications_per_client: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """App instances of one AOI Client at a time; as many that ended are remembered."""
    parked_per_sender: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1_000
    """Parked messages stored per sender; more are counted only."""
    proof_holds: Span = 90 * 86_400
    """Seconds for which a proof of an address holds."""
    challenge_again_after: Span = 120.0
    """Seconds after which an unanswered challenge is sent again."""
    challenges: Annotated[int, Field(ge=1, le=10)] = 3
    """How often a challenge is sent before the address is given up."""
    challenges_per_address: Count = 5
    """Challenges to one address within an hour."""
    challenges_per_client: Count = 10
    """Challenges for one client within an hour."""
    challenges_overall: Count = 10_000
    """Challenges within an hour."""
    keep_settled: Annotated[float, Field(ge=3_600, le=1e9)] = 7 * 86_400
    """Seconds for which settled deliveries, cancellations and parked messages are stored; after
    them their IDs may be used anew, and a repeat is a new notification."""
    keep_unused: Span = 30 * 86_400
    """Seconds after which an AOI Client expires that never connected nor activated a channel."""
    keep_silent: Annotated[float, Field(ge=86_400, le=1e9)] = 400 * 86_400
    """Seconds without a connection, an activation or a proof after which any AOI Client expires;
    set it far above `proof_holds`: a device that does not connect only renews proofs."""
    identity_keys: Path | None = None
    """File with the public keys (JWKS or PEM; ES256, EdDSA, RS256) of who asserts user identities;
    set: a registration needs a signed assertion (JWT) of its identity (`sub`)."""
    identity_audience: str | None = None
    """The audience (`aud`) that such assertions must be for; set both or neither."""

    def policies(self) -> Policies:
        """The same, as the services take them."""
        # Commands that only read settings load neither domain nor services.
        from aoi_events.domain.clients.proofs import ProofPolicy
        from aoi_events.domain.clients.selection import SelectionPolicy
        from aoi_events.domain.retry import Backoff
        from aoi_events.services.runtime.settings import Policies

        return Policies(
            selection=SelectionPolicy(self.connection_channels, self.connectionless_channels),
            proofs=ProofPolicy(
                holds=self.proof_holds,
                renew_before=min(7 * 86_400, self.proof_holds / 4),
                send_again_after=self.challenge_again_after,
                sends=self.challenges,
                per_address_an_hour=self.challenges_per_address,
                per_client_an_hour=self.challenges_per_client,
                overall_an_hour=self.challenges_overall,
            ),
            retry=Backoff(first=self.retry_first, ceiling=max(self.retry_most, self.retry_first)),
            **self.model_dump(include={each.name for each in fields(Policies)}),
        )


class HealthSettings(Section):
    """Where ``/livez`` and ``/readyz`` are served."""

    enabled: bool = True
    """Whether health is served at all."""
    host: Host = "127.0.0.1"
    """Address to listen on; ``::`` for all, IPv6 and IPv4, ``0.0.0.0`` for all of IPv4."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8091
    """TCP port to listen on; 0: any free one (the log says which)."""


class LogSettings(Section):
    """The log on standard error: its level and its format."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe that is logged."""
    format: LogFormat = "auto"
    """``json``: one JSON object a line; ``console``: text for people, with colours on a terminal
    unless ``NO_COLOR`` is set; ``auto``: ``console`` on a terminal, else ``json``."""


def _broker(value: SecretStr) -> SecretStr:
    broker_urls(value.get_secret_value())
    return value


def _management(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        known = parts.scheme in ("http", "https") and parts.username and parts.port
        host((known and parts.hostname) or "")
    except ValueError:
        raise ValueError("must be http://USER:PASSWORD@HOST:PORT (or https://)") from None
    return value


class _Environment(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Leave text that is no JSON as it is: its validation knows the whole name."""
        return from_json(value)


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="AOI_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    broker: Annotated[SecretStr, AfterValidator(_broker)] = SecretStr("memory://")
    """``amqp://user:password@host/vhost``, ``amqps://…``, or ``memory://`` (one process only). The
    nodes of a cluster are listed with commas, ``host:5672,host:5672``, or are the addresses of one
    name; they are tried in turn."""
    broker_management: Annotated[SecretStr, AfterValidator(_management)] | None = None
    """``http://user:password@host:15672`` (or ``https://``): RabbitMQ's management API, with a user
    who has the tag `monitoring`; set: a start warns of queues that have fewer members than the
    cluster could give them."""
    store: SecretStr = SecretStr("sqlite:///aoi.sqlite3")
    """``postgresql://user:password@host/database``, or ``sqlite:///file``."""
    declare: bool = True
    """Whether workers declare exchanges and queues at start; off where their broker users may not,
    and ``aoi broker declare`` does it before them."""
    store_pool: Annotated[int, Field(ge=1, le=100)] = 5
    """Connections to the store that one process may have open."""
    clock_apart: Span = 5.0
    """Seconds by which this machine's clock may differ from the store's; a worker that is further
    off does not run (78), since deadlines and expiry are compared with its own."""
    key_file: Path = Path("aoi-keys.json")
    """The file with the server's keys, unless ``token_keys`` and ``challenge_key`` are set."""
    token_keys: dict[str, SecretStr] = {}
    """Token keys by ID, base64 of 64 octets each; the first one issues."""
    challenge_key: SecretStr | None = None
    """Key for challenges, base64 of 32 octets."""
    gateway_users: tuple[str, ...] = ("aoi-gateway",)
    """Broker users of the gateways: only these may state the session of a device."""
    endpoint_users: tuple[str, ...] = ("aoi-endpoint",)
    """Broker users of the endpoints: only these may state another sender (a VAPID key, an API
    key)."""
    operator_users: tuple[str, ...] = ()
    """Broker users that may put messages into a worker's quarantine, besides the worker's own: the
    user of ``aoi dead replay``; for the deadlines worker, which parks the messages that died there,
    also the users of the other workers. Senders that share the workers' user may do it, too."""
    policy_file: Path | None = None
    """TOML file with the operator's rules for plans, followed while workers run: which channels are
    used, in which order, for what; see `aoi policy check`. For the workers notification and
    deadlines."""
    batch: Annotated[int, Field(ge=1, le=2_000)] = 200
    """Messages that a worker handles at once, and its prefetch."""
    quarantine_limit: Annotated[float, Field(ge=LEAST, le=600)] = 120.0
    """Seconds that one quarantined message may take; then the process ends."""
    start_within: Annotated[float, Field(ge=LEAST, le=600)] = 40.0
    """Seconds that broker and store may take to come up when this starts; then it ends with 69."""
    drain_within: Annotated[float, Field(ge=LEAST, le=600)] = 20.0
    """Seconds to finish after TERM; then what is unfinished is left to others."""
    close_after: Annotated[float, Field(ge=0, le=600)] = 0.0
    """Seconds after TERM for which gateway and endpoint go on to accept connections, while
    ``/readyz`` is 503: as long as a balancer needs to notice. ``drain_within`` begins then."""
    channels: Annotated[dict[str, dict[str, Any]], Field(repr=False)] = {}
    """One section per channel type, for example ``AOI_CHANNELS__SMS__HOST``."""
    gateway: GatewaySettings = GatewaySettings()
    endpoint: EndpointSettings = EndpointSettings()
    policy: PolicySettings = PolicySettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    client: ClientSettings = ClientSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, and that over the file that AOI_CONFIG names."""
        environment = _Environment(settings_cls)
        texts = {name: (text or "").strip() for name, text in environment.env_vars.items()}
        environment.env_vars = {name: text for name, text in texts.items() if text}
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, environment)
        if file := texts.get(FILE.lower()):  # as the source names variables of any case
            sources += (InitSettingsSource(settings_cls, read_file(file)),)
        return sources

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, values: dict[str, Any]) -> Any:
        return without_booleans(cls, stripped(values))

    @property
    def names_keys(self) -> bool:
        """Whether the server's keys are settings; else they are in the key file."""
        return bool(self.token_keys) or self.challenge_key is not None

    @property
    def in_process(self) -> bool:
        """Whether the broker lives in this process only."""
        return urlsplit(self.broker.get_secret_value()).scheme == "memory"


def load_settings(**arguments: Any) -> Settings:
    """Settings from everywhere. Raises ConfigurationError that says which, and how to set it."""
    unknown_names(Settings, os.environ)
    check_once(os.environ)
    try:
        return Settings(**arguments)
    except ValidationError as error:
        parts = error.errors(include_input=False, include_url=False)
        raise ConfigurationError(
            "settings: " + "; ".join(map(in_words_of(Settings), parts))
        ) from None
