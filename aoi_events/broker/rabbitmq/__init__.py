"""RabbitMQ 3.13 to 4.3 through aio-pika."""

from aoi_events.broker.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
