"""End to end: published, routed, over the WebSocket, acknowledged by the device, settled."""
