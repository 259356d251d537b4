#!/bin/sh
# Makes the encoder in the box (encoders/default/) from nothing:
#
#     scripts/train-default-encoder.sh DATA OUT [STEPS]
#
# DATA holds BEIR folders of training pairs and text/ with general text; .models/all-MiniLM-L6-v2 is the teacher. STEPS (650) is
# the length of the first stage: what is in the repository was made with that on two busy cores; a GPU or a free machine affords
# ten times as many. Stages that are done are not done again.
set -eu
data=$1 out=$2 steps=${3:-650}
here=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
secateur=${SECATEUR:-"$here/target/release/secateur"}
teacher=$here/.models/all-MiniLM-L6-v2
mkdir -p "$out"

pairs="nq-qed boolq squadshifts-wiki squadshifts-reddit squadshifts-amazon medquad stackexchange-sample pubmedqa foolmetwice
    scitldr papers-title-abstract"
files=
for name in $pairs; do
    [ -e "$out/$name.jsonl" ] || "$secateur" dataset triples "$data/$name" --split train --out "$out/$name.jsonl"
    files="$files $out/$name.jsonl"
done
text=$data/text
[ -e "$out/web.jsonl" ] || "$secateur" dataset cloze "$text/c4-sample.jsonl.gz" "$text/cc-sample.jsonl.gz" \
    "$text/wikipedia-demo.jsonl.gz" --passage-words 60 --out "$out/web.jsonl"
[ -e "$out/news.jsonl" ] || "$secateur" dataset cloze "$text/abc-news.jsonl.gz" "$text/brown.jsonl.gz" \
    "$text/state_union.jsonl.gz" --passage-words 60 --out "$out/news.jsonl"
files="$files $out/web.jsonl $out/news.jsonl"

[ -e "$out/new" ] || "$secateur" model create "$here/encoders/recipes/default.json" --vocabulary "$text/c4-sample.jsonl.gz" \
    "$text/cc-sample.jsonl.gz" "$text/abc-news.jsonl.gz" "$data/nq-qed" "$data/boolq" "$data/medquad" \
    "$data/papers-title-abstract" "$data/squadshifts-wiki" "$data/squadshifts-reddit" "$data/stackexchange-sample" \
    "$data/pubmedqa" "$data/foolmetwice" --out "$out/new"

# Short texts first, of which many can be read; then long ones.
stage() {
    from=$1 to=$2
    shift 2
    [ -e "$out/$to/model" ] || "$secateur" train "$out/$from" --data $files --teacher "$teacher" --full --contrastive-weight 0 \
        --alignment-weight 20 --weight-decay 0.01 --decay cosine --resume --out "$out/$to" "$@"
}
stage new short --steps "$steps" --batch-size 64 --query-length 24 --passage-length 48 --teacher-length 48 \
    --distillation-weight 0.5 --learning-rate 1.5e-3 --warmup 40
stage short/model long --steps 120 --batch-size 20 --query-length 32 --passage-length 192 --teacher-length 192 \
    --distillation-weight 1 --learning-rate 3e-4 --warmup 10 --seed 7
echo "$out/long/model"
