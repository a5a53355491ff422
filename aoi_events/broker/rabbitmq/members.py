"""The members of quorum queues, which RabbitMQ shows over its management API and not over AMQP.

A queue that was declared on one node stays there alone when the node becomes a cluster. The number
of members cannot be declared for it: RabbitMQ compares ``x-quorum-initial-group-size`` with that of
the first declaration, and its default, three, is what is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

import aiohttp
from yarl import URL

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.broker_url import broker_urls

_WANTED: Final = 3
"""Members of a queue, or as many as there are nodes: with three, one may be away."""
_WITHIN: Final = aiohttp.ClientTimeout(total=5.0)


@dataclass(frozen=True, slots=True)
class Members:
    """The number of a cluster's nodes, and of the members of each queue that is there."""

    nodes: int
    queues: Mapping[str, int]

    @property
    def few(self) -> list[str]:
        """The queues with fewer members than the cluster could give them, up to three."""
        wanted = min(_WANTED, self.nodes)
        return sorted(name for name, members in self.queues.items() if members < wanted)


async def members_of(management: str, broker: str, names: Collection[str]) -> Members:
    """The nodes of the cluster, and how many of them have each of these quorum queues.

    ``management`` is the URL of the management API with user and password; ``broker`` is the
    broker's, for the virtual host. Raises InfrastructureError, and ConfigurationError where the
    user may not look.
    """
    url = URL(management)
    base, where = url.origin(), f"{url.host}:{url.port}"
    vhost = quote(unquote(broker_urls(broker)[0].path[1:]) or "/", safe="")
    queues = f"api/queues/{vhost}?disable_stats=true&enable_queue_totals=true"

    async def get(path: str) -> Any:
        async with session.get(URL(f"{base}/{path}", encoded=True)) as response:
            if response.status in (401, 403):
                raise ConfigurationError(
                    f"AOI_BROKER_MANAGEMENT: {where} does not let this user look (status "
                    f"{response.status}); give the user the tag monitoring, and a permission for "
                    "the virtual host"
                )
            response.raise_for_status()
            return await response.json()

    try:
        login = aiohttp.encode_basic_auth(url.user or "", url.password or "", "utf-8")
        headers = {"Authorization": login}
        async with aiohttp.ClientSession(headers=headers, timeout=_WITHIN) as session:
            nodes, found = await get("api/nodes"), await get(queues)
        return Members(
            len(nodes),
            {
                queue["name"]: len(queue.get("members", ()))
                for queue in found
                if queue["name"] in names and queue.get("type") == "quorum"
            },
        )
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = str(error) or f"no answer within {_WITHIN.total:g} s"
        raise InfrastructureError(f"asking RabbitMQ's management at {where}: {why}") from error
    except (TypeError, KeyError, AttributeError):
        raise InfrastructureError(f"what answers at {where} is not RabbitMQ's management") from None
