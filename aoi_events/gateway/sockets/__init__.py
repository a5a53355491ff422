"""The gateway's HTTP server and the WebSocket connections of devices, with their limits."""
