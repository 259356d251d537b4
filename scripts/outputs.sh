#!/usr/bin/env bash
# Writes what a secateur executable makes (databases, vectors, runs, pruned and trained models) into a folder, and prints the
# SHA-256 of each file. Two executables that print the same lines give the same bytes.
#
#     scripts/outputs.sh target/release/secateur OUT > sums.txt
#
# Paths are relative to OUT, so that two folders compare. Left out: tantivy's folders, whose file names are random (searches of them
# are compared by the runs), journals of times, and the seconds that texts name.
set -euo pipefail
secateur=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
mini=$root/datasets/mini
minilm=$root/.models/all-MiniLM-L6-v2
data=$root/../shared/data
mkdir -p "$2" && cd "$2"
export RAYON_NUM_THREADS=2
say() { echo "$@" >&2; }
run() { say "+ $*"; "$secateur" "$@" >>said.txt 2>>errors.txt || echo "exit $? $*" >>said.txt; }

cp -r "$mini" mini

cat >config.json <<'J'
{"model_type": "qwen3", "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
 "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true}
J
sed 's/.*"text": *"\([^"]*\)".*/\1/' mini/corpus.jsonl >texts.txt
run model create config.json --vocabulary texts.txt --seed 3 --out tiny
run dataset cloze texts.txt --passage-words 20 --out cloze.jsonl
run dataset triples mini --split test --allow-evaluation-split --out pairs.jsonl
encoders="default tiny"
if [ -d "$minilm" ]; then ln -sfn "$minilm" minilm; encoders="$encoders minilm"; fi
for e in $encoders; do
  run encode mini --encoder $e --out $e.npy
  run encode mini --queries --encoder $e --out $e-queries.npy
  run encode mini --encoder $e --precision bf16 --out $e-bf16.npy
  run model inspect $e --json
done
run encode mini --encoder tiny --quantize nf4 --out tiny-nf4.npy
run index mini --out words.db
run index mini --encoder tiny --out tiny.db
run index mini --encoder default --out flat.db
run index mini --encoder default --vectors f16 --out f16.db
for d in scifact cranfield; do
  [ -d "$data/$d" ] || continue
  ln -sfn "$data/$d" $d
  run index $d --allow-empty --encoder default --index hnsw --out $d-hnsw.db
  run index $d --allow-empty --encoder default --index hnsw --codes 1bit --vectors bf16 --out $d-1bit.db
  run index $d --allow-empty --encoder default --index hnsw-rs --out $d-rs.db
  run index $d --allow-empty --encoder default --out $d-flat.db
  for i in hnsw 1bit flat; do for m in dense bm25 hybrid; do
    run eval $d-$i.db $d --mode $m -k 100 --run $d-$i-$m.run --json
  done; done
  run eval $d-flat.db $d --mode hybrid --fusion sum --dense-weight 0.3 -k 100 --run $d-sum.run --rules beir
done
for db in words.db tiny.db flat.db f16.db; do
  run search $db "how do bees tell each other where food is" -k 5 --json
  run verify $db
done
run search flat.db bees --mode hybrid --json
run generation add flat.db other --encoder tiny
run eval flat.db mini --generation other --split test --run other.run --json
run generation use flat.db other
run generation drop flat.db original
run compact flat.db

run mine pairs.jsonl --db tiny.db --depth 2-20 --negatives 3 --out mined.jsonl
run teach mined.jsonl --model tiny --out taught.jsonl
run prune score tiny --calibration texts.txt --out scores.json --plot order.svg
run prune score tiny --calibration mini --metric cosine --out scores2.json
for v in "--mlp 2" "--attention 1 --mlp 1" "--blocks 1" "--last-blocks 1"; do
  n=drop$(echo $v | tr -d ' -')
  run prune drop tiny $v --scores scores.json --out $n
  run prune drop tiny $v --scores scores.json --format secateur --out $n-own
done
run prune sweep tiny --variants full,1M,1A,1B,last-1B --datasets mini --scores scores.json --out sweep
run prune slim tiny --sparsity 0.3 --calibration texts.txt --save-scores neurons.json --out masked --plot widths.svg
run prune slim dropmlp2 --sparsity 0.3 --train pairs.jsonl --steps 4 --batch-size 4 --out trained-mask
run prune narrow masked --out narrow
run prune narrow tiny --mask masked/neuron_mask.json --out narrow2
run prune sparsify tiny --method wanda --calibration texts.txt --out wanda
run prune sparsify tiny --method sparsegpt --calibration texts.txt --out sparsegpt
run model quantize tiny --out quantized
run train tiny --data mined.jsonl --batch-size 4 --steps 6 --negatives 2 --rank 4 --dropout 0.1 --out lora
run train tiny --data taught.jsonl --batch-size 4 --steps 6 --negatives 2 --full --distillation-weight 0.5 --out full
run train tiny --data pairs.jsonl --batch-size 4 --steps 6 --full --gradient-cache --batch-tokens 200 --recompute --teacher default --alignment-weight 0 --out cached
run model merge lora/model --out merged
cat >recipe.toml <<'J'
model = "tiny"
[score]
calibration = "texts.txt"
[drop]
mlp = 2
[slim]
sparsity = 0.3
train = ["pairs.jsonl"]
steps = 4
batch-size = 4
[train]
data = ["mined.jsonl"]
steps = 4
batch-size = 4
negatives = 2
[evaluate]
datasets = ["mini"]
baseline = true
J
run effir recipe.toml --out effir
if [ -d minilm ] && [ -d cranfield ]; then
  run prune score minilm --calibration mini --out minilm-scores.json
  run prune drop minilm --mlp 2 --scores minilm-scores.json --out minilm-2M
  run encode mini --encoder minilm-2M --out minilm-2M.npy
  run train minilm --data pairs.jsonl --batch-size 4 --steps 2 --rank 4 --out minilm-lora
fi
find . -type f ! -path './mini/*' ! -path '*/bm25/*' ! -name '*.lock' ! -name LOCK ! -name said.txt ! -name errors.txt | LC_ALL=C sort | while read -r f; do
  case "$f" in
    *.jsonl|*.json|*.md|*.run|*.svg) # Seconds and rates differ from run to run.
      s=$(sed -E 's/"(seconds|documents_per_second|queries_per_second|milliseconds[a-z_]*|tokens_per_second|elapsed)": *[0-9.e+-]+/"\1":0/g' "$f" | sha256sum | cut -c1-64) ;;
    *) s=$(sha256sum <"$f" | cut -c1-64) ;;
  esac
  echo "$s  $f"
done
