"""The AOI Client as a daemon (8.1): one for all the applications of a device.

It decides nothing about the procedures: that is :mod:`aoi_events.client`. Here is what lies between
the library and the device: apps on a Unix socket, commands that wake the others, the network.
"""
