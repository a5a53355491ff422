"""Brokers: RabbitMQ through aio-pika, and ``memory://`` with the same semantics.

Both pass the suite in ``tests/conformance/broker``. What must exist on either is said once, as
values, in :mod:`aoi_events.topology`.
"""
