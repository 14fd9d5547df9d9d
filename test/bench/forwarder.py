"""Passes DNS queries on to a server and its answers back after a delay: a long way on a machine without one.

``forwarder.py LISTEN UPSTREAM SECONDS``; it prints ``ready`` when it listens. UDP and TCP.
"""

import asyncio
import sys


class Upstream(asyncio.DatagramProtocol):
    """The way to the server: an answer goes back to whoever asked, under the number that the question had."""

    def __init__(self, delay):
        self.delay, self.asked, self.number, self.front, self.transport = delay, {}, 0, None, None

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, wire, client):
        self.number = (self.number + 1) % 0x10000
        self.asked[self.number] = (wire[:2], client)
        self.transport.sendto(self.number.to_bytes(2, "big") + wire[2:])

    def datagram_received(self, wire, _address):
        number, client = self.asked.pop(int.from_bytes(wire[:2], "big"), (None, None))
        if number is None:
            return
        answer = number + wire[2:]
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.front.sendto, answer, client)
        else:
            self.front.sendto(answer, client)


class Front(asyncio.DatagramProtocol):
    """Where queries arrive."""

    def __init__(self, upstream):
        self.upstream = upstream

    def connection_made(self, transport):
        self.upstream.front = transport

    def datagram_received(self, wire, client):
        self.upstream.ask(wire, client)


async def stream(reader, writer, server, delay):
    """Serve one TCP connection: what comes is passed on, and each answer comes back after the delay."""
    back, forth = await asyncio.open_connection(server, 53)
    try:
        while size := await reader.readexactly(2):
            forth.write(size + await reader.readexactly(int.from_bytes(size, "big")))
            length = await back.readexactly(2)
            answer = await back.readexactly(int.from_bytes(length, "big"))
            await asyncio.sleep(delay)
            writer.write(length + answer)
    except asyncio.IncompleteReadError:
        pass
    finally:
        forth.close()
        writer.close()


async def main(listen, server, delay):
    loop = asyncio.get_running_loop()
    _, upstream = await loop.create_datagram_endpoint(lambda: Upstream(delay), remote_addr=(server, 53))
    await loop.create_datagram_endpoint(lambda: Front(upstream), local_addr=(listen, 53))
    await asyncio.start_server(lambda reader, writer: stream(reader, writer, server, delay), listen, 53)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
