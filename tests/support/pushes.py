"""What short messages carry, for tests that read what an SMSC was handed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from aoi_events.oma_push.datagrams import read
from aoi_events.oma_push.payload import Payload, decode
from aoi_events.oma_push.reassembly import WaitingPart, take


def payload_of(*user_data: bytes) -> Payload:
    """The one payload in the user data of some short messages. Raises PduError."""
    [payload] = payloads_of(("AOI", octets) for octets in user_data)
    return payload


def payloads_of(messages: Iterable[tuple[str, bytes]]) -> list[Payload]:
    """Each payload of a stream of short messages (whose parts belong together, user data), in the
    order in which they were complete. Raises PduError.
    """
    now = datetime.now(UTC)
    held: tuple[WaitingPart, ...] = ()
    payloads: list[Payload] = []
    for between, octets in messages:
        segment = read(octets)
        if segment.part is None:
            payloads.append(decode(segment.octets))
            continue
        taken = take(held, between, segment.part, segment.octets, now=now)
        held = taken.waiting
        if taken.datagram is not None:
            payloads.append(decode(taken.datagram))
    return payloads
