"""The two device protocols, ``aoi.v1`` and Firefox's ``push-notification``; pure, without I/O."""
