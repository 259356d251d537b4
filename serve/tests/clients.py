"""Runs clients that others wrote against `secateur serve`, and schemathesis on its description.

    python3 -m venv clients && clients/bin/pip install -r serve/tests/requirements.txt
    clients/bin/python serve/tests/clients.py target/release/secateur [EXAMPLES]

Needs no network and no model but the encoder in the box. EXAMPLES is how many requests schemathesis makes up for each
operation: 30 unless given. Prints a line for each client, and fails at the first that gets something wrong.
"""

import json
import math
import os
import random
import string
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

TEXTS = ["Prune roses in late winter.", "Bread rises overnight.", "Bees dance to tell where food is."]
KEY = "a-key"


@contextmanager
def served(program, *arguments):
    """The address of a server."""
    environment = {**os.environ, "SECATEUR_API_KEYS": KEY}
    command = [program, "serve", "--port", "0", *arguments]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        for line in server.stderr:
            if " at http://" in line:
                yield "http://" + line.rsplit("http://", 1)[1].strip()
                return
        raise SystemExit(f"the server ended with {server.wait()}")
    finally:
        server.terminate()
        assert server.wait(60) == 0, "the server did not end in order"


def same(a, b):
    assert len(a) == len(b) and all(math.isclose(x, y, abs_tol=1e-6) for x, y in zip(a, b)), (a[:4], b[:4])


def openai(address):
    import openai as package

    client = package.OpenAI(base_url=address + "/v1", api_key=KEY, max_retries=0)
    # Its default is base64, which it decodes.
    vectors = [one.embedding for one in client.embeddings.create(model="any", input=TEXTS).data]
    floats = client.embeddings.create(model="any", input=TEXTS, encoding_format="float")
    for vector, other in zip(vectors, floats.data, strict=True):
        same(vector, other.embedding)
    assert floats.usage.total_tokens > 10
    short = client.embeddings.create(model="any", input=TEXTS[0], dimensions=8).data[0].embedding
    assert len(short) == 8
    assert [model.id for model in client.models.list()] == ["default", "cross"]
    try:
        client.embeddings.create(model="any", input="a", dimensions=0)
        raise AssertionError("a dimension of 0 was taken")
    except package.BadRequestError as error:
        assert error.param == "dimensions" and error.request_id, error
    try:
        package.OpenAI(base_url=address + "/v1", api_key="other").models.list()
        raise AssertionError("a wrong key was taken")
    except package.AuthenticationError:
        pass
    return vectors


def hugging_face(address, vectors):
    from huggingface_hub import InferenceClient

    client = InferenceClient(model=address, token=KEY)
    for text, vector in zip(TEXTS, vectors, strict=True):
        same(client.feature_extraction(text)[0].tolist(), vector)


def langchain(address, vectors):
    from langchain_openai import OpenAIEmbeddings

    model = OpenAIEmbeddings(base_url=address + "/v1", api_key=KEY, model="any", check_embedding_ctx_length=False)
    for vector, other in zip(model.embed_documents(TEXTS), vectors, strict=True):
        same(vector, other)
    same(model.embed_query(TEXTS[1]), vectors[1])


def llama_index(address, vectors):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    for model in [
        TextEmbeddingsInference(model_name="any", base_url=address, auth_token=KEY),
        OpenAILikeEmbedding(model_name="any", api_base=address + "/v1", api_key=KEY),
    ]:
        for vector, other in zip(model.get_text_embedding_batch(TEXTS), vectors, strict=True):
            same(vector, other)
        same(model.get_query_embedding(TEXTS[1]), vectors[1])
    # Of its three classes this one wants the whole header.
    ranker = TextEmbeddingInference(base_url=address, auth_token=f"Bearer {KEY}", top_n=2)
    nodes = ranker.postprocess_nodes([NodeWithScore(node=TextNode(text=text)) for text in TEXTS], query_str="when are roses pruned")
    assert len(nodes) == 2 and nodes[0].score >= nodes[1].score, nodes


def cohere(address):
    import cohere as package

    client = package.ClientV2(base_url=address, api_key=KEY)
    answer = client.rerank(model="any", query="when are roses pruned", documents=TEXTS, top_n=2)
    assert len(answer.results) == 2
    assert answer.results[0].relevance_score >= answer.results[1].relevance_score


def schemathesis(address, examples):
    # Whether every made-up request is accepted is not asked: no schema says which filters and generations there are.
    subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "run", address + "/openapi.json", "--header", f"Authorization: Bearer {KEY}",
         "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", examples, "--seed", "1",
         "--generation-database", "none", "--phases", "examples,coverage,fuzzing"],
        check=True,
    )


def cross_encoder(folder):
    """A tiny cross-encoder of random weights that knows letters, by the shapes of a test fixture."""
    fixture = Path(__file__).resolve().parents[2] / "tests/fixtures/tiny_models/bert-cross-encoder.json"
    described = json.loads(fixture.read_text())
    pieces = ["[UNK]", "[CLS]", "[SEP]"] + [mark + letter for letter in string.ascii_lowercase for mark in ("", "##")]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "decoder": None,
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {piece: number for number, piece in enumerate(pieces)}},
    }
    numbers, header, data = random.Random(1), {}, b""
    for tensor in described["tensors"]:
        count = math.prod(tensor["shape"])
        values = struct.pack(f"<{count}f", *(numbers.uniform(-0.5, 0.5) for _ in range(count)))
        header[tensor["name"]] = {
            "dtype": "F32", "shape": tensor["shape"], "data_offsets": [len(data), len(data) + len(values)]
        }
        data += values
    head = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(described["config"]))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)


def main():
    program, examples = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "30"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("notes.jsonl").write_text(
            "".join(json.dumps({"id": str(number), "text": text, "year": 2019 + number}) + "\n" for number, text in enumerate(TEXTS))
        )
        subprocess.run([program, "index", "notes.jsonl", "--encoder", "default", "--out", "notes.db"], check=True)
        cross_encoder(Path("cross"))
        with served(program, "notes.db", "--reranker", "cross", "--writable") as address:
            vectors = openai(address)
            print("openai: the same vectors as floats and as base64, errors of its types")
            hugging_face(address, vectors)
            print("huggingface_hub: the same vectors")
            langchain(address, vectors)
            print("langchain: the same vectors")
            llama_index(address, vectors)
            print("llama_index: the same vectors from both interfaces, reranked")
            cohere(address)
            print("cohere: reranked")
            schemathesis(address, examples)
            print("schemathesis: nothing found")


main()
