"""The queries of one run, and the limits that all of them share."""

from __future__ import annotations

import asyncio
import collections
import errno
import socket
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

try:
    # The tarball that salt-ssh sends to a host has a module contextvars that asyncio does not know: all tasks would
    # share one value.
    from _contextvars import ContextVar as ContextVar  # noqa: PLC0414 (walk.py imports it from here)
except ImportError:  # not CPython
    from contextvars import ContextVar as ContextVar  # noqa: PLC0414

from mailhost.dns.message import Response
from mailhost.dns.sockets import Way

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    from mailhost.dns.lookup import Options

    _Arguments = TypeVarTuple("_Arguments")

ServerAddress = tuple[str, str]
"""A server's name, and one of its addresses."""
_Key = tuple[str, tuple[Hashable, ...]]
"""Some work of a run: the name of its function, and the arguments."""
_Result = TypeVar("_Result")

# After so many unanswered questions an address is left alone: a dead server must not use up the time of all questions.
PATIENCE = 3
# So many servers can each get their full share of queries at once, so that a busy resolver does not hold up others.
_SERVERS_AT_ONCE = 4
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_doing: ContextVar[_Key | None] = ContextVar("mailserver_dns_doing", default=None)


class Unanswered(Exception):
    """A server did not answer a query."""


class Trouble(Exception):
    """A zone's servers could not be found.

    ``circular``: because the work that it needs waits for the work that asked. Asked from elsewhere, it may succeed.
    """

    def __init__(self, text: str, circular: bool = False) -> None:
        super().__init__(text)
        self.circular = circular


def no_route(address: str) -> bool:
    """Return whether this host has no route to ``address``: connecting a UDP socket fails. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
    except OSError as err:
        return err.errno in _NO_ROUTE
    return False


class Asking:
    """Queries with their limits, and work that is done once a run however many questions need it.

    It lives in the event loop of the thread that asks. ``silence`` counts for each address how many questions in a row
    it left unanswered.
    """

    def __init__(self, dns: ModuleType, options: Options) -> None:
        self.dns, self.options = dns, options
        self.silence: collections.Counter[str] = collections.Counter()
        self._tasks: dict[_Key, asyncio.Task[Any]] = {}
        self._waits: dict[_Key, collections.Counter[_Key]] = {}

    def begin(self) -> None:
        """Start the clock of the run; call this in the event loop."""
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + self.options.lifetime
        self._free = asyncio.Semaphore(self.most_at_once)
        self._free_at: collections.defaultdict[str, asyncio.Semaphore] = collections.defaultdict(
            lambda: asyncio.Semaphore(self.options.in_flight)
        )
        self._way = Way(self.dns)

    @property
    def most_at_once(self) -> int:
        """Queries that may be in progress to all servers together."""
        return _SERVERS_AT_ONCE * self.options.in_flight

    def close(self) -> None:
        """Close all sockets."""
        self._way.close()

    def once(
        self,
        work: Callable[[Unpack[_Arguments]], Coroutine[Any, Any, _Result]],
        *arguments: Unpack[_Arguments],
    ) -> Awaitable[_Result]:
        """Return an awaitable for the result of ``work``, which is started only once a run for the same arguments.

        :raises Trouble: when awaited, if the work needs work that waits for it. Two zones whose name servers' names lie
            in each other, without glue, would otherwise hang the run.
        """
        key = (work.__qualname__, arguments)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(self._do(key, work, arguments))
        return task if task.done() else self._awaited(key, task)

    async def _do(
        self,
        key: _Key,
        work: Callable[[Unpack[_Arguments]], Coroutine[Any, Any, _Result]],
        arguments: tuple[Unpack[_Arguments]],
    ) -> _Result:
        _doing.set(key)
        try:
            return await work(*arguments)
        except Trouble as err:
            if err.circular:
                del self._tasks[key]
            raise

    async def _awaited(self, key: _Key, task: asyncio.Task[_Result]) -> _Result:
        doing = _doing.get()
        if doing is None:
            return await task
        if self._needs(key, doing):
            raise Trouble("names of servers that can only be looked up with each other's help", circular=True)
        waits = self._waits.setdefault(doing, collections.Counter())
        waits[key] += 1
        try:
            return await task
        finally:
            waits[key] -= 1

    def _needs(self, key: _Key, wanted: _Key) -> bool:
        """Tell whether some work waits, directly or through other work, for what is wanted."""
        met: set[_Key] = set()
        left = [key]
        while left:
            one = left.pop()
            if one == wanted:
                return True
            if one not in met:
                met.add(one)
                left += [other for other, count in self._waits.get(one, {}).items() if count]
        return False

    async def query(
        self, address: str, name: str, rdtype: str, flags: int = 0, signed: bool = False, brief: bool = False
    ) -> Response:
        """Return the response of the server at ``address``, by UDP (sent twice if needed), or by TCP if truncated.

        :param signed: request DNSSEC signatures. :param brief: see :meth:`mailhost.dns.sockets.Way.ask`.
        :raises Unanswered: there was no response in time, or none that can be read.
        """
        limits, way = self.options, self._way
        async with self._free_at[address], self._free:
            for share in (1 / 3, 2 / 3):
                left = self._deadline - self._clock()
                if left <= 0:
                    raise Unanswered(f"no answer within the {limits.lifetime:g} s for all questions")
                if self.silence[address] >= PATIENCE:
                    raise Unanswered(f"given up after it left {PATIENCE} questions of this run unanswered")
                try:
                    timeout = min(left, limits.timeout * share)
                    response = await way.ask(address, name, rdtype, flags, timeout, signed, brief)
                except (asyncio.TimeoutError, self.dns.exception.Timeout):
                    way.doubt(address)
                    continue
                except (OSError, EOFError, self.dns.exception.DNSException) as err:
                    raise Unanswered(f"{type(err).__name__}: {err}".rstrip(": ")) from err
                self.silence[address] = 0
                return response
        self.silence[address] += 1
        raise Unanswered(f"no answer in {min(left, limits.timeout):g} s")
