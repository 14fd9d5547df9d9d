"""The network between the hosts: a bridge in a namespace of its own, a namespace for each host, and no way out."""

import subprocess

from bases import run

PREFIX = 24


def bridge_namespace(lab):
    return f"{lab}-net"


def host_namespace(lab, host):
    return f"{lab}-{host}"


def exists(namespace):
    return namespace in run("ip", "netns", "list").split()


def processes(lab, host):
    """Return the ids of all processes in the host's namespace."""
    namespace = host_namespace(lab, host)
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()] if exists(namespace) else []


def make_bridge(lab):
    """Make the bridge that all hosts of ``lab`` are on."""
    namespace = bridge_namespace(lab)
    if exists(namespace):
        return
    run("ip", "netns", "add", namespace)
    run("ip", "-n", namespace, "link", "add", "lab", "type", "bridge")
    run("ip", "-n", namespace, "link", "set", "lab", "up")


def connect(lab, host, addresses):
    """Make the host's namespace, with its addresses on ``host0``, plugged into the bridge."""
    namespace, switch = host_namespace(lab, host), bridge_namespace(lab)
    if exists(namespace):
        disconnect(lab, host)
    run("ip", "netns", "add", namespace)
    cable = f"link add name to-{host} type veth peer name host0 netns {namespace}"
    run("ip", "-n", switch, *cable.split())
    run("ip", "-n", switch, "link", "set", f"to-{host}", "master", "lab", "up")
    run("ip", "-n", namespace, "link", "set", "lo", "up")
    run("ip", "netns", "exec", namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/host0/disable_ipv6")
    for address in addresses:
        run("ip", "-n", namespace, "address", "add", f"{address}/{PREFIX}", "dev", "host0")
    run("ip", "-n", namespace, "link", "set", "host0", "up")


def disconnect(lab, host):
    if exists(host_namespace(lab, host)):
        run("ip", "netns", "delete", host_namespace(lab, host))
    if exists(bridge_namespace(lab)):
        subprocess.run(
            ("ip", "-n", bridge_namespace(lab), "link", "delete", f"to-{host}"), stderr=subprocess.DEVNULL, check=False
        )


def remove_bridge(lab):
    if exists(bridge_namespace(lab)):
        run("ip", "netns", "delete", bridge_namespace(lab))
