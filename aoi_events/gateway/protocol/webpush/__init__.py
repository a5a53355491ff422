"""The gateway's side of Firefox's push protocol, sibling of ``aoi.v1``: its messages and states.

Everything else, from the socket to the workers, is what ``aoi.v1`` has, too.
"""

from aoi_events.gateway.protocol.webpush.session import WebPushSession

__all__ = ["WebPushSession"]
