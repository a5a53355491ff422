"""The gateway's side of ``push-notification``, the push protocol of Firefox.

It adds messages and states; it shares everything else, from the socket to the workers, with
``aoi.v1``.
"""

from aoi_events.gateway.protocol.webpush.session import WebPushSession

__all__ = ["WebPushSession"]
