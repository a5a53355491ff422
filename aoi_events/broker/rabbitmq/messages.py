"""Conversion between the port's messages and AMQP frames."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from aiormq.abc import DeliveredMessage
from pamqp import commands, frame
from pamqp.common import FieldTable
from pamqp.header import ContentHeader

from aoi_events.broker.rabbitmq.lenient_decoders import HEADERS_LIMIT
from aoi_events.ports.broker import Inbound, Outbound

_PERSISTENT, _TRANSIENT = 2, 1
_BODY_FRAME = struct.Struct(">BHI")
_BODY, _FRAME_END = 3, b"\xce"


def inbound_of(message: DeliveredMessage, *, tag: int = 0) -> Inbound:
    """The port's message of a delivery, to be settled under ``tag``.

    The delivery count is the broker's only where the broker says that it delivered before: on a
    first delivery that header can only come from the sender. RabbitMQ up to 4.2 counts every
    return in ``x-delivery-count``, 4.3 the failed ones (and all in ``x-acquired-count``).
    """
    delivery = cast(commands.Basic.Deliver, message.delivery)
    properties = message.header.properties
    headers = cast(Mapping[str, object], properties.headers or {})
    redelivered = bool(delivery.redelivered)
    count = headers.get("x-delivery-count") if redelivered else None
    return Inbound(
        body=message.body,
        routing_key=delivery.routing_key or "",
        exchange=delivery.exchange or "",
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        user_id=properties.user_id,
        content_type=properties.content_type,
        type=properties.message_type,
        headers=headers,
        delivery_count=count if isinstance(count, int) and count > 0 else 0,
        redelivered=redelivered,
        tag=tag,
    )


def encode(message: Outbound, *, user: str, message_id: str, number: int, limit: int) -> bytes:
    """Marshal one publish on AMQP channel ``number``, ``limit`` octets of body in each.

    Raises ValueError for what AMQP cannot carry (names over 255 octets, headers over 32 KiB): the
    broker would answer by closing the whole connection.
    """
    properties = commands.Basic.Properties(
        content_type=message.content_type,
        headers=cast(FieldTable, dict(message.headers)) if message.headers else None,
        delivery_mode=_PERSISTENT if message.persistent else _TRANSIENT,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message_id,
        message_type=message.type,
        user_id=user,
    )
    try:
        header = frame.marshal(ContentHeader(0, len(message.body), properties), number)
    except TypeError as error:
        raise ValueError(f"a property of a message cannot be sent: {error}") from error
    if len(header) > HEADERS_LIMIT:
        raise ValueError(f"the headers of a message are over {HEADERS_LIMIT} octets")
    parts = [_publish(message.exchange, message.routing_key, message.mandatory, number), header]
    body = message.body
    for start in range(0, len(body), limit):
        chunk = body[start : start + limit]
        parts += (_BODY_FRAME.pack(_BODY, number, len(chunk)), chunk, _FRAME_END)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _publish(exchange: str, routing_key: str, mandatory: bool, number: int) -> bytes:
    if len(routing_key.encode()) > 255:
        raise ValueError(f"the routing key {routing_key[:40]!r}... is over 255 octets")
    method = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return frame.marshal(method, number)
