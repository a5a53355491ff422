"""The gateway: devices connect to it, and the workers reach them through it.

``protocol`` has the rules of one connection, without I/O; ``sockets`` moves frames between devices
and sessions; ``workers`` moves messages between sessions and the broker.
"""
