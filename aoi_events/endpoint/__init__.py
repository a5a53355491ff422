"""The endpoint: Application Servers send notifications to it over HTTP.

It serves Web Push (RFC 8030, 8291, 8292) and a JSON API with API keys. It has no state, no store
and no keys of the server: it forwards every HTTP request over the broker, in the name of its
sender, and answers when the workers have answered. It does not read a notification's content.
"""
