"""The AOI Client as a daemon (8.1): one for all the applications of a device.

:mod:`aoi_events.client` decides everything about the procedures. This package connects it with the
device: apps on a Unix socket, commands that wake other apps, and the network.
"""
