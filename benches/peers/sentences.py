"""Cuts the documents of BEIR folders into sentences: a collection of real texts of any size for ann.py.

    python3 benches/peers/sentences.py DATASET... --count 101000 --out sentences
    secateur encode sentences --encoder .models/all-MiniLM-L6-v2 --out sentences.npy
    python3 benches/peers/ann.py --vectors sentences.npy
"""

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path


def sentences(folder):
    """The sentences of a corpus, of 20 to 300 characters."""
    path = next((path for name in ("corpus.jsonl", "corpus.jsonl.gz") if (path := folder / name).exists()), None)
    if path is None:
        sys.exit(f"{folder} has neither corpus.jsonl nor corpus.jsonl.gz")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", json.loads(line)["text"]):
                if 20 <= len(sentence) <= 300:
                    yield sentence.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, nargs="+", help="BEIR folders")
    parser.add_argument("--count", type=int, required=True, help="how many, drawn with a seed; none twice")
    parser.add_argument("--out", type=Path, required=True, help="the BEIR folder to write")
    args = parser.parse_args()
    found = list(dict.fromkeys(sentence for folder in args.datasets for sentence in sentences(folder)))
    if len(found) < args.count:
        sys.exit(f"{len(found)} different sentences, fewer than {args.count}: name more data sets")
    args.out.mkdir(parents=True)
    with open(args.out / "corpus.jsonl", "w", encoding="utf-8") as file:
        for number, sentence in enumerate(random.Random(7).sample(found, args.count)):
            file.write(json.dumps({"_id": str(number), "title": "", "text": sentence}) + "\n")
    print(f"{args.out}: {args.count} of {len(found)} sentences")


if __name__ == "__main__":
    main()
