"""A network of its own for an executor, as another host has it, and a firewall that can cut it off from Temporal."""

import os
import subprocess
import sys
import uuid

from tests.fleets import Fleet, Process
from tests.registries import free_port


class OwnNetwork:
    """A network namespace that is joined to the machine. Docker and store are reached without it, cut off or not."""

    def __init__(self, fleet: Fleet) -> None:
        self._name = f"tr{uuid.uuid4().hex[:8]}"
        high, low = os.urandom(2)
        # RFC 2544 keeps these from meeting anybody's.
        network = f"198.18.{high}.{low & ~3 | 1}", f"198.18.{high}.{low & ~3 | 2}"
        _do("ip", "netns", "add", self._name)
        fleet.at_the_end.callback(_do, "ip", "netns", "delete", self._name)
        _do("ip", "link", "add", self._name, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        fleet.at_the_end.callback(_do, "ip", "link", "delete", self._name)
        for where, device, address in ([], self._name, network[0]), (["-n", self._name], "eth0", network[1]):
            _do("ip", *where, "address", "add", f"{address}/30", "dev", device)
            _do("ip", *where, "link", "set", device, "up")
        self._verdict = "ACCEPT"
        self._firewall("-I")
        fleet.at_the_end.callback(self._firewall, "-D")
        self._temporal = f"{network[0]}:{free_port()}"
        self._gate = fleet.process(self._temporal, fleet.server.address)
        self._gate.program = (sys.executable, "-m", "tests.forwarder")
        self._gate.start()

    def join(self, executor: Process) -> None:
        """An executor that is not started yet: it then reaches Temporal through this network."""
        executor.environment = {**executor.environment, "TEMPORAL_ADDRESS": self._temporal}
        executor.program = ("nsenter", f"--net=/run/netns/{self._name}", *executor.program)

    def cut(self) -> None:
        """Everything is swallowed, both ways, and nobody is told."""
        self._decide("DROP")

    def mend(self) -> None:
        self._decide("ACCEPT")

    def _decide(self, verdict: str) -> None:
        self._firewall("-D")
        self._verdict = verdict
        self._firewall("-I")

    def _firewall(self, change: str) -> None:
        for chain, direction in (("INPUT", "-i"), ("OUTPUT", "-o")):
            _do("iptables", "-w", change, chain, direction, self._name, "-j", self._verdict)


def _do(*command: str) -> None:
    subprocess.run(command, check=True)
