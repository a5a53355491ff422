"""8.1.1, AOI Client registration: when to begin, what to send, what the answer changes."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.client.core.events import Refused, Registered, RegistrationStarted
from aoi_events.client.core.model import Pending, Phase
from aoi_events.client.core.state import Credentials, Earlier
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.answers import ClientRegisteredV1, RefusedV1
from aoi_events.contracts.device import HelloFrame
from aoi_events.contracts.requests import PreviousClient, RegisterClientV1
from aoi_events.domain.clients.client import hash_secret
from aoi_events.errors import ErrorCode

__all__ = ["answered", "ask_or_greet", "begin_if_due", "refused", "renew"]

REQUEST = "client.register"


def begin_if_due(turn: Turn) -> None:
    """Begin a registration when policy or an app wants one, or when the identity is another one."""
    view, credentials = turn.view, turn.stored.credentials
    if view.identity is None:
        return
    if credentials is None:
        if view.register_on == "install" or turn.stored.any_wanted:
            reason = "installed" if view.register_on == "install" else "an application asked"
            _begin(turn, view.identity, reason)
    elif credentials.identity != view.identity:
        # The tokens belong to the user before; nothing that comes for them is shown any more.
        records = {
            key: replace(r, token=None, due=r.due or r.wanted)
            for key, r in turn.stored.applications.items()
        }
        turn.keep(applications=records)
        _begin(turn, view.identity, "the user identity changed")


def renew(turn: Turn, reason: str) -> None:
    """The server does not know the registration any more: make a new one, with the old as proof."""
    credentials = turn.stored.credentials
    if credentials is not None and turn.view.identity is not None:
        _begin(turn, turn.view.identity, reason)


def _begin(turn: Turn, identity: str, reason: str) -> None:
    secret = turn.take_secret()
    if secret is None:
        return  # this decision has begun one already
    credentials = turn.stored.credentials
    if credentials is not None and credentials.client is not None:
        turn.keep(previous=Earlier(credentials.client, credentials.secret))
    turn.keep(credentials=Credentials(secret=secret, identity=identity))
    # A registration is always the first thing said on a connection of its own; and it waits for
    # nobody who took over from the one before.
    if turn.link.phase is not Phase.CONNECTING or turn.link.replaced:
        turn.close()
        turn.set_link(replaced=False)
    turn.tell(RegistrationStarted(identity, reason))


def ask_or_greet(turn: Turn) -> None:
    """On a new connection: register while there is no AOI Client ID, else say hello."""
    credentials = turn.stored.credentials
    if credentials is None:
        turn.close()
    elif credentials.client is not None:
        hello = HelloFrame(
            client=credentials.client, secret=credentials.secret, heard=turn.stored.heard
        )
        turn.send(hello)
        turn.set_link(phase=Phase.GREETING)
    elif turn.asking(REQUEST, "") is None:
        earlier = turn.stored.previous
        proof = (
            PreviousClient(client=earlier.client, secret=earlier.secret)
            if earlier is not None
            else None
        )
        body = RegisterClientV1(
            version=1,
            device=turn.view.device,
            identity=credentials.identity,
            secret_hash=hash_secret(credentials.secret),
            previous=proof,
            assertion=turn.view.assertion,
        )
        turn.ask(Pending(REQUEST, ""), body)


def answered(turn: Turn, answer: ClientRegisteredV1) -> None:
    """Store the assigned AOI Client ID; a new one makes everything of the old one void."""
    stored = turn.stored
    if stored.credentials is None:
        return
    previous = stored.previous
    turn.keep(credentials=replace(stored.credentials, client=answer.client), previous=None)
    if previous is None or previous.client != answer.client:
        records = {
            key: replace(r, token=None, due=r.wanted) for key, r in stored.applications.items()
        }
        turn.keep(
            applications=records,
            channels=(),
            activated=None,
            activating=any(r.wanted for r in records.values()),
            codes={},
            wake_ups={},
            acks={},
        )
    retired = previous.client if previous and previous.client != answer.client else None
    turn.tell(Registered(answer.client, retired))


def refused(turn: Turn, answer: RefusedV1) -> None:
    """Try again on a later connection; with another secret when this one was used before."""
    turn.tell(Refused(REQUEST, "", answer.code, answer.message))
    credentials, secret = turn.stored.credentials, turn.take_secret()
    if answer.code == ErrorCode.CONFLICT and credentials is not None and secret is not None:
        turn.keep(credentials=replace(credentials, secret=secret))
    turn.close()
    turn.set_link(failures=turn.link.failures + 1)
