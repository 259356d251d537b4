"""Loads `secateur serve` for about a minute, with clients that behave and clients that do not.

    python3 serve/tests/load.py target/release/secateur [SECONDS]

Needs Python 3.11 and Linux, and no package. Clients that behave ask at a fixed rate all the time, while another process
commits and puts other generations in use; each of their requests must be answered 200, with the right document. Beside
them there are heads and bodies that never end, clients that read no answer or half a connection, that send 10 MB, bytes
that are no UTF-8, or leave; and 10,000 open connections. Each is answered as the guide says, or closed in time.

Memory is compared with a bound, and the rounds of the last third of the time with all before them: it must not
grow in all of them.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
CONNECTIONS = 10_000
# Of the server, small enough that what goes wrong shows within the time.
TIMEOUT, IDLE, HELD, BODY = 20, 25, 64 * MIB, 16 * MIB
# Clients at a time whose head never ends.
SLOW_HEADS = 100
# Requests a second of clients that behave.
RATE = 30
# What memory may take beyond what it takes before: the guide's four times the bytes that are held, a batch, and an open
# connection's first buffer, its socket and its task. Two bodies that are made for it take 16 times their bytes, and some
# texts of a MiB 80 times theirs.
BATCH, OF_CONNECTION, PARSED, TOKENIZED = 128 * MIB, 24 << 10, 2 * 16 * 10 * MIB, 4 * 80 * MIB
BOUND = 4 * HELD + BATCH + CONNECTIONS * OF_CONNECTION + PARSED + TOKENIZED
# Each heap keeps what its worst request left, and has had it after some rounds. Then no round adds more than this.
ROUNDS, GROWTH = 5, 24 * MIB
# The worst that 10 MB can be: millions of tokens or of texts, and one text. And many long texts.
LARGE = [b"[" + b"1," * 5_000_000 + b"1]", b"[" + b'"",' * 3_333_333 + b'""]', b'"' + b"bees " * 2_000_000 + b'"']
LARGE_AND_GOOD = json.dumps({"inputs": ["Bees dance. " * 400] * 2000}).encode()
NOTES = {
    "bees": "Bees dance to tell each other where food is.",
    "roses": "Prune roses in late winter, above a bud that looks outwards.",
    "bread": "Bread rises overnight in a cold room.",
}


class Server:
    def __init__(self, program, folder, *arguments):
        self.folder, self.program = folder, program
        command = [program, "serve", "notes.db", "--port", "0", "--refresh", "0.1", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if " at http://" in line:
                host, _, port = line.rsplit("http://", 1)[1].strip().rpartition(":")
                self.host, self.port = host, int(port)
                return
        raise SystemExit(f"the server ended with {self.process.wait()}: {''.join(self.said)}")

    def memory(self, field="VmRSS"):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
        raise SystemExit("the server is gone")

    async def open(self):
        # A full queue of new connections is tried again, as the system does.
        return await asyncio.wait_for(asyncio.open_connection(self.host, self.port), 120)

    def message(self, path, body, *headers):
        """A request; a body of None has none."""
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"host: {self.host}", *headers]
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")

    async def ask(self, path, body, *headers):
        """Status and body of an answer, on a connection of its own."""
        reader, writer = await self.open()
        try:
            writer.write(self.message(path, body, "connection: close", *headers))
            return await answer(reader)
        finally:
            writer.close()

    async def metrics(self):
        _, text = await self.ask("/metrics", None)
        values = (line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in values}

    def run(self, *arguments):
        subprocess.run([self.program, *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


async def answer(reader):
    """Status and body; 0 where the connection is closed without an answer."""
    try:
        while True:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            status = int(head.split(b" ", 2)[1])
            if status != 100:
                break
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        return status, await asyncio.wait_for(reader.readexactly(length), 60)
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""


def as_json(**fields):
    return json.dumps(fields).encode()


class Good:
    """Clients that behave: they ask at a fixed rate, whatever the answers do."""

    def __init__(self, server):
        self.server, self.tasks, self.wrong, self.times = server, set(), [], []

    async def one(self, number):
        start = time.monotonic()
        if number % 3 == 0:
            status, body = await self.server.ask("/v1/embeddings", as_json(input=["Bees dance.", "Bread rises."]))
            is_right = status == 200 and len(json.loads(body)["data"]) == 2
        else:
            status, body = await self.server.ask("/search", as_json(query="dancing bees", k=1))
            is_right = status == 200 and json.loads(body)["hits"][0]["doc_id"] == "bees"
        self.times.append(time.monotonic() - start)
        if not is_right:
            self.wrong.append((status, body[:200]))

    async def run(self, until):
        start, number = time.monotonic(), 0
        while time.monotonic() < until:
            await asyncio.sleep(max(0.0, start + number / RATE - time.monotonic()))
            task = asyncio.create_task(self.one(number))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            number += 1
        await asyncio.gather(*self.tasks)


async def writer(server, until):
    """Another process that commits, and two generations in turn."""
    number = 0
    while time.monotonic() < until:
        (Path(server.folder) / "more.jsonl").write_text(json.dumps({"id": f"more-{number}", "text": f"Note {number}."}) + "\n")
        await asyncio.to_thread(server.run, "add", "notes.db", "more.jsonl")
        if number % 3 == 0:
            name = ["short", "original"][number // 3 % 2]
            await asyncio.to_thread(server.run, "generation", "use", "notes.db", name)
        number += 1
        await asyncio.sleep(1)
    return number


async def closed_in_time(reader, start, most):
    with suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(MIB), 60):
            pass
    took = time.monotonic() - start
    assert took < most, f"it was closed after {took:.1f} s, and {most} s were expected"


async def slow_head(server):
    reader, writer = await server.open()
    start = time.monotonic()
    with suppress(ConnectionError):
        for byte in b"GET /health HTTP/1.1\r\nx-slow: " + b"a" * 1000:
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.5)
    await closed_in_time(reader, start, 3 * IDLE)
    writer.close()


async def slow_body(server):
    reader, writer = await server.open()
    start = time.monotonic()
    head = server.message("/embed", b"").replace(b"content-length: 0", b"content-length: 10000000")
    writer.write(head + b" " * MIB)
    answered = asyncio.create_task(answer(reader))
    while not answered.done():
        writer.write(b" ")
        await asyncio.sleep(0.2)
    status, _ = await answered
    # It may find no room for its first megabyte. A client that still sends when it is let go may miss the answer.
    assert status in (0, 408, 429), status
    took = time.monotonic() - start
    assert took < 6 * TIMEOUT, f"a body that never ends was let go after {took:.1f} s, and its time was {TIMEOUT} s"
    writer.close()


async def slow_reader(server):
    # About 8 MB of vectors, which no buffer of the system takes whole.
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 16)
    writer.write(server.message("/embed", as_json(inputs=["Bees dance."] * 2048), "connection: close"))
    await asyncio.sleep(2 * TIMEOUT)
    # What lies in the buffers comes, and then the end before its time.
    count = 0
    with suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(MIB), 60):
            count += len(data)
    writer.close()
    return count


async def half_closed(server):
    reader, writer = await server.open()
    writer.write(server.message("/v1/embeddings", as_json(input="Bees dance."), "connection: close"))
    writer.write_eof()
    status, _ = await answer(reader)
    assert status == 200, status
    writer.close()


async def leaver(server):
    _, writer = await server.open()
    writer.write(server.message("/embed", as_json(inputs=["Bees dance. " * 20] * 64)))
    await writer.drain()
    writer.transport.abort()


async def large(server):
    for body in LARGE:
        status, said = await server.ask("/embed", b'{"inputs":' + body + b"}")
        assert status in (400, 429), (status, said[:200])


async def large_and_good(server):
    status, said = await server.ask("/embed", LARGE_AND_GOOD)
    # It may be too much for the time that there is.
    assert status in (200, 429, 503), (status, said[:200])
    return status


async def no_text(server):
    for body in [b'{"input": "a\xff"}', b"\xc3\x28", b'{"input": "\\ud800"}', b"[" * 100_000, b""]:
        status, said = await server.ask("/v1/embeddings", body)
        assert status == 400, (status, said[:200])


async def many_connections(server, count):
    """Opens so many, asks on each of some, and closes all."""
    streams, start = [], time.monotonic()
    for first in range(0, count, 200):
        streams += await asyncio.gather(*(server.open() for _ in range(min(200, count - first))))
    told = await server.metrics()
    memory = server.memory()
    if time.monotonic() - start > IDLE - 3:
        print(f"SKIPPED: {count} connections at a time: this machine takes longer to open them than they may be idle")
    else:
        assert told["secateur_connections"] >= count, told["secateur_connections"]
    for reader, writer in streams[:: max(1, count // 100)]:
        writer.write(server.message("/health", None))
        status, _ = await answer(reader)
        assert status == 200 or time.monotonic() - start > IDLE - 3, status
    for _, writer in streams:
        writer.close()
    return memory


async def rude(server, tally):
    """Each kind of client once, all at the same time."""
    kinds = [(slow_body, 10), (slow_reader, 8), (half_closed, 100), (leaver, 60), (large, 2), (large_and_good, 2), (no_text, 20)]
    done = await asyncio.gather(*(kind(server) for kind, count in kinds for _ in range(count)))
    for kind, count in kinds:
        results, done = done[:count], done[count:]
        tally[kind.__name__] = tally.get(kind.__name__, 0) + count
        if kind is slow_reader:
            assert all(result < 8 * MIB for result in results), f"clients that read nothing for long got all: {results}"


async def load(server, seconds, connections):
    # What goes wrong with one client ends the run; what becomes of the others then is of no use.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    start = time.monotonic()
    until = start + seconds
    good = Good(server)
    for number in range(30):
        await good.one(number)
    idle = server.memory()
    background = [asyncio.create_task(good.run(until)), asyncio.create_task(writer(server, until))]
    rounds, tally, of_connections = [], {}, []
    while time.monotonic() < until - 15 or len(rounds) < ROUNDS:
        # They are let go last, so they go on beside the others.
        heads = [asyncio.create_task(slow_head(server)) for _ in range(SLOW_HEADS)]
        await rude(server, tally)
        of_connections.append(await many_connections(server, connections))
        await asyncio.gather(*heads)
        await asyncio.sleep(1)
        rounds.append(server.memory())
        assert server.process.poll() is None, "the server ended"
    _, commits = await asyncio.gather(*background)
    told = await server.metrics()
    peak = server.memory("VmHWM")
    times = sorted(good.times)
    mib = lambda count: f"{count / MIB:.0f} MiB"
    print(f"{len(times)} requests of clients that behave, {RATE} a second: p50 {times[len(times) // 2] * 1e3:.0f} ms, "
          f"p99 {times[len(times) * 99 // 100] * 1e3:.0f} ms, {len(good.wrong)} not answered as they should be")
    print(f"{commits} commits by other processes, {told['secateur_reloads_total']:.0f} states taken up; "
          f"{told['secateur_held_bytes_refused_total']:.0f} requests refused for want of bytes")
    tally["slow_head"] = SLOW_HEADS * len(rounds)
    print(f"clients that do not: {', '.join(f'{count} {name}' for name, count in tally.items())}; {connections} open connections, "
          f"{len(rounds)} times")
    print(f"memory: {mib(idle)} before, {', '.join(map(mib, rounds))} after the rounds, {', '.join(map(mib, of_connections))} with all "
          f"connections open, {mib(peak)} at most; the bound is {mib(idle + BOUND)}")
    assert not good.wrong, f"requests were dropped: {good.wrong[:3]}"
    assert told["secateur_reloads_total"] >= min(commits, 3), "no new state was taken up"
    assert peak <= idle + BOUND, "memory is beyond the bound"
    third = len(rounds) // 3
    assert min(rounds[-third:]) <= max(rounds[:-third]) + GROWTH, "memory grows from round to round"
    start = time.monotonic()
    while (told := await server.metrics())["secateur_held_bytes"] > 0 or told['secateur_connections'] > 1:
        assert time.monotonic() - start < IDLE + TIMEOUT, "bytes or connections are still held"
        await asyncio.sleep(0.2)


def open_files():
    """How many connections may be open here: some files are for other things."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 2_000
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    connections = min(CONNECTIONS, max(soft, wanted) - 1_000)
    if connections < CONNECTIONS:
        print(f"SKIPPED: {CONNECTIONS} open connections: this system allows {max(soft, wanted)} open files; {connections} are opened")
    return connections


def main():
    program = Path(sys.argv[1]).resolve()
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    # The server inherits it.
    connections = open_files()
    with tempfile.TemporaryDirectory() as folder:
        notes = "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in NOTES.items())
        (Path(folder) / "notes.jsonl").write_text(notes)
        for arguments in (["index", "notes.jsonl", "--encoder", "default", "--out", "notes.db"],
                          ["generation", "add", "notes.db", "short", "--encoder", "default", "--max-length", "16"]):
            subprocess.run([program, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = Server(program, folder, "--timeout", TIMEOUT, "--idle-timeout", IDLE, "--max-connections", CONNECTIONS + 1_000,
                        "--max-held-bytes", HELD, "--max-body", BODY, "--max-waiting", 65_536)
        try:
            asyncio.run(load(server, seconds, connections))
        finally:
            server.process.terminate()
            # What it says while it works is read here: a pipe has room for it.
            said = server.process.stderr.read()
            code = server.process.wait(60)
        assert code == 0 and "panicked" not in said, (code, said[-2000:])


main()
