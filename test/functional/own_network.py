"""A network of the tests' own, so that name servers at fixed addresses meet no daemon of the machine or another run."""

import contextlib
import ctypes
import functools
import os
import subprocess

CLONE_NEWNET = 0x40000000
"""From <sched.h>; os.unshare and os.setns are there from Python 3.12 on."""


@contextlib.contextmanager
def own_network():
    """Be in that network while the block runs; with it are the threads and processes that the block starts."""
    outer = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(_inner())
        yield
    finally:
        _enter(outer)
        os.close(outer)


@functools.cache
def _inner():
    """Return the descriptor of the network, with its loopback interface up; the first call makes it."""
    _call("unshare", CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _enter(descriptor):
    _call("setns", descriptor, CLONE_NEWNET)


def _call(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
