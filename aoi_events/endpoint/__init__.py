"""The endpoint: where Application Servers without a broker connection send, over HTTP.

Web Push (RFC 8030, 8291, 8292) and a JSON API with API keys. It holds no state, no keys of the
server and no store: every request becomes one on the broker, made in the name of its sender, and is
answered when the workers answered. Nothing here reads a notification's content.
"""
