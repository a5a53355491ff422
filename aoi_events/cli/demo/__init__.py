"""``aoi demo``: the whole story in one process, with real sockets on loopback and a real SMSC."""
