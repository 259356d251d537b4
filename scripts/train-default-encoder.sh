#!/bin/sh
# Makes the encoder in the box (encoders/default/) from nothing:
#
#     scripts/train-default-encoder.sh DATA OUT
#
# DATA holds BEIR folders of training pairs and text/ with general text; .models/all-MiniLM-L6-v2 is the teacher. OUT/default is the
# encoder, and OUT/grown-long/model a decoder of ours that the paper's tables are measured on. Stages that are done are not done
# again, and an interrupted one goes on. FACTOR=10 takes ten times as many steps.
set -eu
data=$(CDPATH='' cd -- "$1" && pwd) out=$2 factor=${FACTOR:-1}
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
secateur=${SECATEUR:-"$here/target/release/secateur"}
teacher=$here/.models/all-MiniLM-L6-v2
config=$here/encoders/recipes/default.json
mkdir -p "$out"
cd "$out"

files=
for name in nq-qed boolq squadshifts-wiki squadshifts-reddit squadshifts-amazon medquad stackexchange-sample pubmedqa foolmetwice \
    scitldr papers-title-abstract; do
    [ -e "$name.jsonl" ] || "$secateur" dataset triples "$data/$name" --split train --out "$name.jsonl"
    files="$files $name.jsonl"
done
text=$data/text
[ -e web.jsonl ] || "$secateur" dataset cloze "$text/c4-sample.jsonl.gz" "$text/cc-sample.jsonl.gz" \
    "$text/wikipedia-demo.jsonl.gz" --passage-words 60 --out web.jsonl
[ -e news.jsonl ] || "$secateur" dataset cloze "$text/abc-news.jsonl.gz" "$text/brown.jsonl.gz" "$text/state_union.jsonl.gz" \
    --passage-words 60 --out news.jsonl
files="$files web.jsonl news.jsonl"

# A causal decoder with random weights, and what is left of it without attentions and MLPs: embeddings and a norm.
[ -e decoder ] || "$secateur" model create "$config" --pooling mean --out decoder --vocabulary "$text/c4-sample.jsonl.gz" \
    "$text/cc-sample.jsonl.gz" "$text/abc-news.jsonl.gz" "$data/nq-qed" "$data/boolq" "$data/medquad" \
    "$data/papers-title-abstract" "$data/squadshifts-wiki" "$data/squadshifts-reddit" "$data/stackexchange-sample" \
    "$data/pubmedqa" "$data/foolmetwice"
[ -e embeddings ] || "$secateur" prune drop decoder --layers attention:0-3,mlp:0-3 --out embeddings

# FROM TO STEPS LENGTH and more: short texts first, of which more can be read.
stage() {
    from=$1 to=$2 steps=$3 length=$4
    shift 4
    # shellcheck disable=SC2086
    [ -e "$to/model" ] || "$secateur" train "$from" --data $files --teacher "$teacher" --teacher-length "$length" \
        --passage-length "$length" --steps $((steps * factor)) --full --contrastive-weight 0 --alignment-weight 20 \
        --resume --out "$to" "$@"
}
stage embeddings short 300 20 --query-length 20 --batch-size 200 --learning-rate 1e-2 --distillation-weight 0 --warmup 5
stage short/model long 100 128 --query-length 32 --batch-size 48 --learning-rate 2e-3 --distillation-weight 0.5 --seed 3 --warmup 5
stage long/model longer 240 128 --query-length 32 --batch-size 48 --learning-rate 4e-3 --distillation-weight 1 --seed 11 --warmup 5
[ -e default ] || "$secateur" model create longer/model/config.json --grow longer/model --pooling mean --half --out default

# A causal decoder that pools the last token, grown onto the embeddings.
[ -e grown ] || "$secateur" model create "$here/encoders/recipes/decoder.json" --grow longer/model --max-length 128 --out grown
stage grown grown-short 700 40 --query-length 24 --batch-size 96 --learning-rate 5e-4 --distillation-weight 0.5 --warmup 40 \
    --decay cosine --seed 5
stage grown-short/model grown-long 140 128 --query-length 32 --batch-size 40 --learning-rate 3e-4 --distillation-weight 1 \
    --warmup 10 --decay cosine --seed 9
echo "$out/default $out/grown-long/model"
