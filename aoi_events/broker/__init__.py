"""Brokers: RabbitMQ through aio-pika, and ``memory://`` with the same semantics.

Both pass the suite in ``tests/conformance/broker``. Exchanges and queues are declared on either
from the same values, which are in :mod:`aoi_events.topology`.
"""
