"""Three RabbitMQ nodes in containers on a network of their own, and what can happen to them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from aoi_events.testing.container_server import wait_until
from aoi_events.testing.containers import RabbitServer
from tests.support.containers import address_of

if TYPE_CHECKING:
    from testcontainers.core.network import Network

_NAMES: Final = ("one", "two", "three")
_START: Final = (
    "printf '%s' \"$CLUSTER\" >/etc/rabbitmq/conf.d/50-cluster.conf; "
    "exec docker-entrypoint.sh rabbitmq-server"
)
_WATERMARK: Final = "400MB"
_FREE: Final = "50MB"
_CONFIGURATION: Final = f"""
cluster_formation.peer_discovery_backend = classic_config
cluster_partition_handling = {{handling}}
net_ticktime = 6
vm_memory_high_watermark.absolute = {_WATERMARK}
disk_free_limit.absolute = {_FREE}
log.console.level = warning
"""
_ERLANG: Final = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
"""Three nodes share the machine with everything else: none of them spins while it waits."""
_CUT: Final = """
table inet cut {{
    chain in {{
        type filter hook input priority filter;
        tcp flags & rst == rst accept;
        {incoming};
    }}
    chain out {{
        type filter hook output priority filter;
        tcp flags & rst == rst accept;
        {outgoing};
    }}
}}
"""
"""Resets pass, or those that it sends itself would be cut, too."""


class ClusterNode(RabbitServer):
    """One node; ``name`` is that of its host. A node that is killed loses its cut."""

    _answers_within = 30.0
    """Seconds: a node that has just started may never answer some requests."""

    def __init__(self, name: str, label: str, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.name = name
        self.label = label
        self._environment = {**environment, "RABBITMQ_NODENAME": f"rabbit@{name}"}

    def create(self, network: Network) -> None:
        """Start the container, and return before the node serves: it waits for the others."""
        from testcontainers.core.container import DockerContainer

        self._create(
            DockerContainer(self.image)
            .with_command(["sh", "-c", _START])
            .with_envs(**self._environment)
            .with_bind_ports(5672, self.port)
            .with_bind_ports(15672, self._management)
            .with_network(network)
            .with_network_aliases(self.name)
        )

    def come_back_later(self) -> None:
        """Start a node that was killed, and return before it serves: it may wait for others."""
        self.container.get_wrapped_container().start()

    def wait_ready(self) -> None:
        """Wait until AMQP and the management API answer."""
        self.wait_until(self._serves, "does not serve")

    def wait_complete(self, count: int) -> None:
        """Wait until it serves and sees that ``count`` nodes run, itself among them."""
        self.wait_until(lambda: self._serves() and self._seen() == [True] * count, "misses nodes")

    def pause(self) -> None:
        """Stop all its processes where they are; its connections stay open, and silent."""
        self.container.get_wrapped_container().pause()

    def unpause(self) -> None:
        """Let them go on."""
        self.container.get_wrapped_container().unpause()

    def cut_from(self, others: Collection[ClusterNode], *, reset: bool = False) -> None:
        """Drop all packets from and to ``others``, which they notice after about a minute.

        With ``reset`` connections end at once, and this returns when the node has noticed.
        """
        them = ", ".join(address_of(other) for other in others)
        verdict = "meta l4proto tcp reject with tcp reset" if reset else "drop"
        self._filter(f"ip saddr {{ {them} }} {verdict}", f"ip daddr {{ {them} }} {verdict}")
        if reset:
            gone = [f"rabbit@{other.name}" for other in others]
            self.wait_until(
                lambda: not any(name in self.ctl("eval", "nodes().") for name in gone),
                f"does not notice that it is cut from {others}",
            )

    def cut_off(self) -> None:
        """Drop all packets from and to nodes and clients."""
        self._filter('iifname != "lo" drop', 'oifname != "lo" drop')

    def heal(self) -> None:
        """End a cut."""
        self._nft("delete table inet cut")

    def alarm_memory(self) -> None:
        """Let the node use more memory than it may: publishers are blocked on all nodes."""
        self.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        self._until_alarm()

    def alarm_disk(self) -> None:
        """Let the node have less free disk space than it needs, which blocks likewise."""
        self.ctl("set_disk_free_limit", "90000GB")
        self._until_alarm()

    def end_alarms(self) -> None:
        """Let the node have what it needs."""
        self.ctl("set_vm_memory_high_watermark", "absolute", _WATERMARK)
        self.ctl("set_disk_free_limit", _FREE)

    def _until_alarm(self) -> None:
        self.wait_until(
            lambda: "resource_limit" in self.ctl("eval", "rabbit_alarm:get_alarms()."),
            "has no alarm",
        )

    def _serves(self) -> bool:
        return self.api("GET", "/health/checks/port-listener/5672") is not None

    def _seen(self) -> list[bool]:
        return [node["running"] for node in self.api("GET", "/nodes")]

    def wait_until(self, ready: Callable[[], bool], failure: str) -> None:
        """Poll; raises TimeoutError with ``failure`` and the end of the node's log."""
        try:
            wait_until(ready, f"RabbitMQ node {self} {failure}")
        except TimeoutError as error:
            log = self.container.get_wrapped_container().logs(tail=20).decode(errors="replace")
            raise TimeoutError(f"{error}; its log ends:\n{log}") from error

    def _filter(self, incoming: str, outgoing: str) -> None:
        self._nft(_CUT.format(incoming=incoming, outgoing=outgoing))

    def _nft(self, rules: str) -> None:
        """The image of brokers has no such tool: a container that shares the network has it."""
        key, _, value = self.label.partition("=")
        self.container.get_docker_client().client.containers.run(
            os.environ["AOI_TEST_PROXIES_IMAGE"],
            ["nft", rules],
            network_mode=f"container:{self.container.get_container_id()}",
            cap_add=["NET_ADMIN"],
            user="root",
            remove=True,
            labels={key: value},
        )

    def __repr__(self) -> str:
        return self.name


class RabbitCluster:
    """Use as ``with RabbitCluster() as cluster``; ``nodes`` are three.

    ``handling`` is RabbitMQ's ``cluster_partition_handling``, which counts for Mnesia only;
    ``khepri``: Khepri keeps what is declared. A node is down for the others after some 6 s of
    silence (``net_ticktime``).
    """

    def __init__(self, handling: str = "pause_minority", *, khepri: bool = False) -> None:
        configuration = _CONFIGURATION.format(handling=handling) + "".join(
            f"cluster_formation.classic_config.nodes.{number} = rabbit@{name}\n"
            for number, name in enumerate(_NAMES, 1)
        )
        self._label = f"aoi-events.testing={os.getpid()}-{secrets.token_hex(8)}"
        environment = {
            "CLUSTER": configuration,
            "RABBITMQ_ERLANG_COOKIE": secrets.token_hex(10),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }
        self.nodes = [ClusterNode(name, self._label, environment) for name in _NAMES]
        self._khepri = khepri
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        from testcontainers.core.network import Network

        key, _, value = self._label.partition("=")
        with ExitStack() as stack:
            network = stack.enter_context(Network(docker_network_kw={"labels": {key: value}}))
            for node in self.nodes:
                stack.callback(node.stop)
                node.create(network)
            self.wait_complete()
            if self._khepri:
                self.nodes[0].ctl("enable_feature_flag", "--experimental", "khepri_db")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_complete(self) -> None:
        """Wait until every node serves, and sees that all of them run."""
        self.each(lambda node: node.wait_complete(len(self.nodes)))

    def leader(self, vhost: str, queue: str) -> ClusterNode:
        """The node that leads a queue, as the first node knows, once it knows one that runs."""
        leaders: list[ClusterNode] = []

        def known() -> bool:
            found = self.nodes[0].api("GET", f"/queues/{vhost}/{queue}")
            leaders[:] = [each for each in self.nodes if found.get("node") == f"rabbit@{each.name}"]
            return bool(leaders)

        self.nodes[0].wait_until(known, f"does not know the leader of {queue}")
        return leaders[0]

    def others(self, *besides: ClusterNode) -> list[ClusterNode]:
        """The nodes that are not named."""
        return [node for node in self.nodes if node not in besides]

    def each(self, do: Callable[[ClusterNode], object]) -> None:
        """Do it to all nodes at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(do, self.nodes))
