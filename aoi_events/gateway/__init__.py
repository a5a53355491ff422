"""The gateway: devices connect to it, and the workers reach devices through it.

``protocol`` decides what happens on one connection, without I/O; ``sockets`` moves frames between
devices and sessions; ``workers`` moves messages between sessions and the broker.
"""
