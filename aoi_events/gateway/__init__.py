"""The gateway: devices connect to it, and the workers reach them through it.

The rules of one connection are in :mod:`aoi_events.gateway.protocol.session`, without I/O; everything else
here moves bytes between sockets, sessions and the broker.
"""
