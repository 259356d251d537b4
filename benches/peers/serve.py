"""`secateur serve` beside servers of others: the same model, the same requests at the same rates, in turn.

    scripts/fetch-minilm.sh
    pip install -r benches/peers/requirements.txt
    cargo build --profile dist
    python3 benches/peers/serve.py --infinity DIR/bin/infinity_emb --json serve.json

Peers: infinity, if --infinity names its executable, and the server that one writes by hand: FastAPI around
sentence-transformers. Measured: `/v1/embeddings` of one claim of SciFact a request, and `/search` of the same claims in
a thousand of SciFact's documents, for which the server written by hand compares all vectors in numpy. Requests come at fixed rates
(open loop), and a latency runs from when its request was due, so one that waits because others do is not left out. Then
some clients ask as fast as they are answered. Servers have one core, the clients another; servers take turns, and
medians over the rounds are printed. benches/peers/README.md says more.

Asserted: every answer is 200, vectors have a cosine of at least 0.9999 to sentence-transformers', and of the ten hits of
each query nine are its.
"""

import argparse
import asyncio
import gzip
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from encode_engines import ROOT, percentile

OURS, BY_HAND, INFINITY = "secateur", "sentence-transformers", "infinity"
K = 10
CLIENTS = 16
# A request of an open loop that is not answered so long after it was due counts as this late.
PATIENCE = 30
MIN_COSINE = 0.9999


def main():
    args = parsed()
    if args.worker:
        return by_hand(args)
    queries = read_lines(args.data / "queries.jsonl")[: args.queries]
    with tempfile.TemporaryDirectory(prefix="secateur-serve-") as folder:
        args.folder = Path(folder)
        corpus = args.data / "corpus.jsonl"
        opened = corpus.open(encoding="utf-8") if corpus.exists() else gzip.open(f"{corpus}.gz", "rt", encoding="utf-8")
        with opened as file:
            (args.folder / "documents.jsonl").write_text("".join(itertools.islice(file, args.documents)), encoding="utf-8")
        run([args.program, "index", args.folder / "documents.jsonl", "--encoder", args.model, "--out", args.folder / "db"])
        servers = [OURS, BY_HAND] + [INFINITY] * bool(args.infinity)
        measured, reference = {}, {}
        for number in range(args.rounds):
            for place in range(len(servers)):
                name = servers[(place + number) % len(servers)]
                with Server(name, args) as server:
                    if number == 0:
                        reference[name] = asyncio.run(answers(server, queries))
                    for key, values in asyncio.run(measure(server, queries, args)).items():
                        measured.setdefault(key, {}).setdefault(name, []).append(values)
        check(reference)
    show(measured)
    if args.json:
        args.json.write_text(json.dumps([[*key, by_server] for key, by_server in measured.items()]))


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/dist/secateur")
    parser.add_argument("--infinity", type=Path, help="the executable infinity_emb")
    parser.add_argument("--model", type=Path, default=ROOT / ".models/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/scifact", help="a BEIR folder")
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 20, 40, 80], help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def read_lines(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def run(command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, env=environment())


def environment():
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]
    others = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    return os.environ | {name: "1" for name in names} | others


# Before anything is pinned: a process that is pinned sees its own cores alone.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core):
    """Servers and clients take no time from each other."""
    if CORES:
        os.sched_setaffinity(0, {CORES[core % len(CORES)]})


class Server:
    """A server on the first core."""

    def __init__(self, name, args):
        self.name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        model = str(args.model)
        command, self.embeddings = {
            OURS: ([args.program, "serve", args.folder / "db", "--port", self.port], "/v1/embeddings"),
            BY_HAND: ([sys.executable, __file__, "--worker", self.port, "--model", model, "--folder", args.folder],
                      "/v1/embeddings"),
            INFINITY: ([args.infinity, "v2", "--model-id", model, "--port", self.port, "--device", "cpu", "--engine", "torch",
                        "--no-bettertransformer", "--log-level", "error"], "/embeddings"),
        }[name]
        self.log = (args.folder / f"{name}.log").open("a+")
        self.process = subprocess.Popen([str(part) for part in command], env=environment(), preexec_fn=lambda: pin(0),
                                        stdout=self.log, stderr=self.log)

    def __enter__(self):
        start = time.monotonic()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() - start > 300:
                    self.log.seek(0)
                    sys.exit(f"{self.name} does not listen: {self.log.read()[-3000:]}")
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def message(self, kind, text):
        path, body = {
            "embeddings": (self.embeddings, {"model": "any", "input": [text]}),
            "search": ("/search", {"query": text, "k": K, "mode": "dense"}),
        }[kind]
        body = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Connections:
    """As many as are needed at a time, each for one request after the other."""

    def __init__(self, server):
        self.server, self.free = server, []

    async def ask(self, message):
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        if b" 200 " not in lines[0]:
            sys.exit(f"{self.server.name} answers {lines[0].decode()}: {body[:300]}")
        self.free.append((reader, writer))
        return body

    def close(self):
        for _, writer in self.free:
            writer.close()


async def answers(server, queries):
    """The vectors of the queries and the ids of their hits."""
    connections = Connections(server)
    vectors, hits = [], []
    for query in queries:
        said = json.loads(await connections.ask(server.message("embeddings", query)))
        vectors.append(said["data"][0]["embedding"])
        if server.name != INFINITY:
            said = json.loads(await connections.ask(server.message("search", query)))
            hits.append({hit["doc_id"] for hit in said["hits"]})
    connections.close()
    return np.array(vectors), hits


def check(reference):
    theirs, their_hits = reference[BY_HAND]
    for name, (vectors, hits) in reference.items():
        cosines = (vectors * theirs).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(theirs, axis=1)
        if cosines.min() < MIN_COSINE:
            sys.exit(f"{name}: the vector of query {cosines.argmin()} has a cosine of {cosines.min()} to sentence-transformers'")
        for number, (ours, same) in enumerate(zip(hits, their_hits)):
            if len(ours & same) < K - 1:
                sys.exit(f"{name}: query {number} finds {sorted(ours)}, and sentence-transformers {sorted(same)}")


async def measure(server, queries, args):
    """By (kind, rate): requests a second that were answered, p50 and p99 in ms. A rate of None is as fast as they can."""
    pin(1)
    found = {}
    for kind in ["embeddings", "search"][: 1 if server.name == INFINITY else 2]:
        messages = [server.message(kind, query) for query in queries]
        connections = Connections(server)
        await closed(connections, messages, min(3, args.seconds))
        for rate in args.rates:
            found[kind, rate] = await open_loop(connections, messages, rate, args.seconds)
        found[kind, None] = await closed(connections, messages, args.seconds)
        connections.close()
    return found


async def open_loop(connections, messages, rate, seconds):
    start, times = time.perf_counter(), []

    async def one(number):
        due = start + number / rate
        await connections.ask(messages[number % len(messages)])
        times.append((time.perf_counter() - due, time.perf_counter()))

    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    _, late = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    answered = sum(end <= start + seconds for _, end in times)
    return summary(answered / seconds, [took for took, _ in times] + [PATIENCE] * len(late))


async def closed(connections, messages, seconds):
    start, times = time.perf_counter(), []

    async def client(number):
        while time.perf_counter() < start + seconds:
            before = time.perf_counter()
            await connections.ask(messages[number % len(messages)])
            times.append(time.perf_counter() - before)
            number += CLIENTS

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return summary(len(times) / (time.perf_counter() - start), times)


def summary(per_second, times):
    return [per_second, percentile(times, 50) * 1e3, percentile(times, 99) * 1e3]


def show(measured):
    print("| what | requests a second | server | answered a second | p50 ms | p99 ms | secateur's ratio: rate, p50, p99 |")
    print("|---|---|---|---|---|---|---|")
    for (kind, rate), by_server in measured.items():
        medians = {name: [statistics.median(values) for values in zip(*rounds)] for name, rounds in by_server.items()}
        ours = medians[OURS]
        for name, (per_second, p50, p99) in medians.items():
            ratios = f"{ours[0] / per_second:.2f}, {p50 / ours[1]:.2f}, {p99 / ours[2]:.2f}" if name != OURS else ""
            due = f"{rate:g}" if rate else f"{CLIENTS} clients"
            print(f"| {kind} | {due} | {name} | {per_second:.1f} | {p50:.1f} | {p99:.1f} | {ratios} |")


def by_hand(args):
    """The server that one writes by hand."""
    import torch
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(str(args.model), device="cpu")
    lines = (args.folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    kept = args.folder / "vectors.npy"
    if not kept.exists():
        texts = [f"{document.get('title', '')} {document['text']}".strip() for document in documents]
        np.save(kept, model.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    vectors = np.load(kept)
    app = FastAPI()

    class Texts(BaseModel):
        input: list[str]

    class Search(BaseModel):
        query: str
        k: int

    # Not async: FastAPI calls them on threads.
    @app.post("/v1/embeddings")
    def embeddings(request: Texts):
        found = model.encode(request.input, normalize_embeddings=True, show_progress_bar=False)
        data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(found.tolist())]
        return {"object": "list", "data": data, "model": "any"}

    @app.post("/search")
    def search(request: Search):
        query = model.encode([request.query], normalize_embeddings=True, show_progress_bar=False)[0]
        scores = vectors @ query
        best = np.argpartition(-scores, request.k)[: request.k]
        best = best[np.argsort(-scores[best])]
        return {"hits": [{"doc_id": documents[row]["_id"], "score": float(scores[row]), "title": documents[row].get("title", ""),
                          "text": documents[row]["text"]} for row in best]}

    uvicorn.run(app, host="127.0.0.1", port=args.worker, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
