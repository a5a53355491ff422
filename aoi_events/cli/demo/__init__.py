"""``aoi demo``: a complete example in one process, over real sockets on loopback."""
