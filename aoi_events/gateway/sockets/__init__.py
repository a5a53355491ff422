"""The gateway's side towards devices: sockets, WebSocket connections and their limits."""
