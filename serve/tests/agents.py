"""Runs the official Python client of the Model Context Protocol against `secateur mcp` and `secateur serve`.

    python3 -m venv clients && clients/bin/pip install -r serve/tests/requirements.txt
    clients/bin/python serve/tests/agents.py target/release/secateur

Each session is of one protocol version, over standard input and output or over streamable HTTP. The client checks what
tools answer against the schemas that they promise. Needs no network and no model but the encoder in the box. Prints a
line for each session, and fails at the first that gets something wrong.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx2
from jsonschema import Draft202012Validator
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

NOTES = [
    {"id": "n1", "title": "Roses", "text": "Prune roses in late winter.", "year": 2021, "url": "https://example.com/roses"},
    {"id": "n2", "text": "Bread rises overnight.", "year": 2019},
    {"id": "a/b", "title": "Bees", "text": "Bees dance to tell where food is. " * 50},
]
KEY = "a-key"
MANY = 300


@contextmanager
def served(program, *arguments):
    """The address of a server."""
    server = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, "SECATEUR_API_KEYS": KEY})
    try:
        for line in server.stderr:
            if " at http://" in line:
                yield "http://" + line.rsplit("http://", 1)[1].strip() + "/mcp"
                return
        raise SystemExit(f"the server ended with {server.wait()}")
    finally:
        server.terminate()
        assert server.wait(60) == 0, "the server did not end in order"


async def call(client, tool, **arguments):
    """What a tool gives: the same as structure and as text."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    [content] = result.content
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


async def fails(client, part, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert result.is_error and part in result.content[0].text, (part, result)


async def converse(client):
    """What an agent may do, and what it may get wrong."""
    assert "`search`" in client.instructions
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["search", "fetch", "list", "info"], tools
    for tool in tools.values():
        assert tool.annotations.read_only_hint and tool.description and tool.output_schema, tool
        # Schemas are what the specification says: JSON Schema of 2020-12.
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)

    found = await call(client, "search", query="when to cut rose bushes", k=2)
    best = found["results"][0]
    assert (best["id"], best["url"], found["mode"]) == ("n1", "https://example.com/roses", "hybrid"), found
    for mode in ("dense", "bm25", "hybrid"):
        found = await call(client, "search", query="dancing bees", mode=mode, k=1, filter="year is missing", snippet=40)
        assert found["mode"] == mode and [hit["id"] for hit in found["results"]] == ["a/b"], found
        # And "..." on both sides.
        assert len(found["results"][0]["text"]) <= 46, found
    found = await call(client, "search", query="roses", k=1000)
    assert len(found["results"]) == len(NOTES) + MANY, len(found["results"])

    whole = await call(client, "fetch", id="a/b")
    assert whole["text"] == NOTES[2]["text"] and "next_start" not in whole
    part = await call(client, "fetch", id="a/b", start=5, length=10)
    assert (part["text"], part["next_start"]) == (whole["text"][5:15], 15), part
    ids, start = [], 0
    while start is not None:
        page = await call(client, "list", start=start, limit=100)
        ids += [document["id"] for document in page["documents"]]
        start = page.get("next_start")
    assert len(set(ids)) == len(ids) == page["total"] == len(NOTES) + MANY
    info = await call(client, "info")
    assert info["documents"] == len(ids) and "year" in {field["field"] for field in info["fields"]}, info

    await fails(client, "missing field `query`", "search")
    await fails(client, "query: it is empty", "search", query="")
    await fails(client, "unknown field `top_k`", "search", query="a", top_k=1)
    await fails(client, "mode: ", "search", query="a", mode="magic")
    await fails(client, "no document has a field yaer", "search", query="a", filter="yaer > 1")
    await fails(client, "k: 1000000 is not in 1 to 1000", "search", query="a", k=1_000_000)
    await fails(client, "no document has the id", "fetch", id="nobody")
    await fails(client, "limit: ", "list", limit=0)
    try:
        await client.call_tool("delete", {"id": "n1"})
        raise AssertionError("a tool that is not there answered")
    except MCPError as error:
        assert error.code == -32602 and "search, fetch, list, info" in str(error), error

    # Many at a time, of which some are given up.
    answered = []

    async def ask(number):
        result = await call(client, "search", query=f"note {number}", k=1, mode="bm25")
        answered.append((number, result["results"][0]["id"]))

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(ask, number)
    assert sorted(answered) == [(number, f"m{number}") for number in range(40)], answered
    for _ in range(10):
        with anyio.move_on_after(0.0005):
            await client.call_tool("search", {"query": "bees " * 2000, "k": 1000})
    assert (await call(client, "search", query="roses", k=1))["results"]


async def over_stdio(program, mode):
    parameters = StdioServerParameters(command=str(program), args=["mcp", "notes.db"], cwd=os.getcwd())
    async with Client(parameters, mode=mode) as client:
        await converse(client)
        print(f"stdio, protocol {client.protocol_version}: tools listed, called, refused and given up")


async def over_http(address, mode, what):
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(address, http_client=http), mode=mode) as client:
            await converse(client)
            print(f"streamable HTTP of {what}, protocol {client.protocol_version}: the same")
    async with httpx2.AsyncClient(timeout=60) as http:
        try:
            async with Client(streamable_http_client(address, http_client=http), mode="legacy"):
                raise AssertionError("nobody asked for a key")
        except* MCPError:
            pass


def main():
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        notes = NOTES + [{"id": f"m{number}", "text": f"This is note {number}.", "number": number} for number in range(MANY)]
        Path("notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
        subprocess.run([program, "index", "notes.jsonl", "--encoder", "default", "--out", "notes.db"], check=True)
        for mode in ("legacy", "auto"):
            anyio.run(over_stdio, program, mode)
        for arguments in (["mcp", "notes.db", "--http", "127.0.0.1:0"], ["serve", "notes.db", "--port", "0"]):
            with served(program, *arguments) as address:
                for mode in ("legacy", "auto"):
                    anyio.run(over_http, address, mode, f"`{arguments[0]}`")


main()
