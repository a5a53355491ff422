"""8.1.1, AOI Client registration: when to begin, what to send, and what the answer changes."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.client.core.events import Refused, Registered, RegistrationStarted
from aoi_events.client.core.model import PendingRequest, Phase
from aoi_events.client.core.state import Credentials
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.answers import ClientRegisteredV1, RefusedV1
from aoi_events.contracts.device import HelloFrame
from aoi_events.contracts.requests import PreviousClient, RegisterClientV1
from aoi_events.domain.clients.client import hash_secret
from aoi_events.errors import ErrorCode

REQUEST = "client.register"


def begin_if_due(transition: Transition) -> None:
    """Begin a registration, if the policy or an app wants one or the user identity changed."""
    model, credentials = transition.model, transition.stored.credentials
    if model.identity is None:
        return
    if credentials is None:
        if model.register_on == "install" or transition.stored.any_wanted:
            reason = "installed" if model.register_on == "install" else "an application asked"
            _begin(transition, model.identity, reason)
    elif credentials.identity != model.identity:
        # The tokens belong to the previous user; notifications for them are not delivered any more.
        records = {
            key: replace(r, token=None, due=r.due or r.wanted)
            for key, r in transition.stored.applications.items()
        }
        transition.update_stored(applications=records)
        _begin(transition, model.identity, "the user identity changed")


def renew(transition: Transition, reason: str) -> None:
    """The server does not know the registration any more: register again, the old one as proof."""
    credentials = transition.stored.credentials
    if credentials is not None and transition.model.identity is not None:
        _begin(transition, transition.model.identity, reason)


def _begin(transition: Transition, identity: str, reason: str) -> None:
    secret = transition.use_secret()
    if secret is None:
        return  # this transition has begun one already
    credentials = transition.stored.credentials
    if credentials is not None and credentials.client is not None:
        transition.update_stored(
            previous=PreviousClient(client=credentials.client, secret=credentials.secret)
        )
    transition.update_stored(credentials=Credentials(secret=secret, identity=identity))
    # A registration is the first request on a connection of its own; and it does not wait because
    # another connection of the previous client took over.
    if transition.connection.phase is not Phase.CONNECTING or transition.connection.replaced:
        transition.disconnect()
        transition.update_connection(replaced=False)
    transition.emit(RegistrationStarted(identity, reason))


def send_request_or_hello(transition: Transition) -> None:
    """First frame on a new connection: the registration, or hello if there is an AOI Client ID."""
    credentials = transition.stored.credentials
    if credentials is None:
        transition.disconnect()
    elif credentials.client is not None:
        hello = HelloFrame(
            client=credentials.client, secret=credentials.secret, heard=transition.stored.heard
        )
        transition.send(hello)
        transition.update_connection(phase=Phase.GREETING)
    elif transition.request_in_flight(REQUEST, "") is None:
        body = RegisterClientV1(
            version=1,
            device=transition.model.device,
            identity=credentials.identity,
            secret_hash=hash_secret(credentials.secret),
            previous=transition.stored.previous,
            assertion=transition.model.assertion,
        )
        transition.request(PendingRequest(REQUEST, ""), body)


def accepted(transition: Transition, answer: ClientRegisteredV1) -> None:
    """Store the assigned AOI Client ID; another ID voids all tokens, channels and codes."""
    stored = transition.stored
    if stored.credentials is None:
        return
    previous = stored.previous
    transition.update_stored(
        credentials=replace(stored.credentials, client=answer.client), previous=None
    )
    if previous is None or previous.client != answer.client:
        records = {
            key: replace(r, token=None, due=r.wanted) for key, r in stored.applications.items()
        }
        transition.update_stored(
            applications=records,
            channels=(),
            closed=frozenset(),
            activated=None,
            activating=any(r.wanted for r in records.values()),
            codes={},
            wake_ups={},
            acks={},
        )
    retired = previous.client if previous and previous.client != answer.client else None
    transition.emit(Registered(answer.client, retired))


def refused(transition: Transition, answer: RefusedV1) -> None:
    """Try again on a later connection; with another secret after a conflict."""
    transition.emit(Refused(REQUEST, "", answer.code, answer.message))
    credentials, secret = transition.stored.credentials, transition.use_secret()
    if answer.code == ErrorCode.CONFLICT and credentials is not None and secret is not None:
        transition.update_stored(credentials=replace(credentials, secret=secret))
    transition.disconnect()
    transition.update_connection(failures=transition.connection.failures + 1)
