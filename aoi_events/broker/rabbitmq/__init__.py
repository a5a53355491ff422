"""RabbitMQ 3.13 to 4.3 through aio-pika."""
