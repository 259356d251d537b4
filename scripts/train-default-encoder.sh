#!/bin/sh
# Makes the encoder in the box (encoders/default/) from random weights:
#
#     scripts/train-default-encoder.sh DATA OUT
#
# DATA holds BEIR folders of training pairs and text/ with general text; .models/all-MiniLM-L6-v2 is the teacher, whose
# vectors of all texts are computed once (OUT/*.vectors). OUT/default is the encoder: a transformer's embeddings without its
# layers. STAGES=grown goes on to the transformer that grows from it (OUT/grown/model), and to what is left without MLPs
# (OUT/attentions). Stages that are done are not done again, and an interrupted one goes on. FACTOR=2 takes twice as many
# steps. STAGES=texts or vectors ends with that stage.
set -eu
data=$(CDPATH='' cd -- "$1" && pwd) out=$2 factor=${FACTOR:-1} last=${STAGES:-default}
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
secateur=${SECATEUR:-"$here/target/release/secateur"}
teacher=${TEACHER:-"$here/.models/all-MiniLM-L6-v2"}
config=$here/encoders/recipes/default.json
mkdir -p "$out"
cd "$out"

reached() {
    [ "$last" != "$1" ] || exit 0
}

# Pairs of training splits.
pairs="nq-qed boolq squadshifts-wiki squadshifts-reddit squadshifts-amazon medquad stackexchange-sample pubmedqa foolmetwice scitldr
    papers-title-abstract"
pair_files=
for name in $pairs; do
    [ -e "$name.jsonl" ] || "$secateur" dataset triples "$data/$name" --split train --out "$name.jsonl"
    pair_files="$pair_files $name.jsonl"
done

# Texts without pairs: spans of up to 10 words and passages of some 25, then sentences and passages of some 60. nq-qed and
# scitldr are left out, whose documents belong to evaluation splits, too.
text=$data/text
texts="$data/boolq $data/squadshifts-wiki $data/squadshifts-reddit $data/squadshifts-amazon $data/medquad $data/stackexchange-sample
    $data/pubmedqa $data/foolmetwice $data/papers-title-abstract $text/c4-sample.jsonl.gz $text/cc-sample.jsonl.gz
    $text/wikipedia-demo.jsonl.gz $text/abc-news.jsonl.gz $text/brown.jsonl.gz $text/state_union.jsonl.gz $text/inaugural.jsonl.gz"

# Puts the lines of cloze.jsonl in another order, which does not change from run to run. A step's failure ends the script.
shuffle() {
    awk 'BEGIN { srand(1) } { printf "%.9f\t%s\n", rand(), $0 }' cloze.jsonl >numbered.tmp
    LC_ALL=C sort -o numbered.tmp numbered.tmp
    cut -f 2- numbered.tmp >cloze.jsonl
    rm numbered.tmp
}

# NAME FIRST LAST: those lines of cloze.jsonl.
part() {
    [ -e "$1.jsonl" ] || { sed -n "$2,$3p" cloze.jsonl >"$1.tmp" && mv "$1.tmp" "$1.jsonl"; }
}

if [ ! -e short3.jsonl ]; then
    # shellcheck disable=SC2086
    "$secateur" dataset cloze $texts --passage-words 25 --min-query-words 1 --max-query-words 10 --seed 1 --out cloze.jsonl
    shuffle
    part short1 1 40000
    part short2 40001 140000
    part short3 140001 240000
    rm cloze.jsonl
fi
if [ ! -e middle.jsonl ]; then
    # shellcheck disable=SC2086
    "$secateur" dataset cloze $texts --passage-words 60 --seed 2 --out cloze.jsonl
    shuffle
    part middle 1 60000
    rm cloze.jsonl
fi
reached texts

# NAME TOKENS PRECISION FILES: the teacher's vectors of all texts of some files, cut to so many tokens.
teach() {
    name=$1 tokens=$2 precision=$3
    shift 3
    [ -e "$name.vectors" ] || "$secateur" teach "$@" --model "$teacher" --max-length "$tokens" --precision "$precision" --vectors "$name.vectors"
}
teach short1 128 int8 short1.jsonl
# shellcheck disable=SC2086
teach pairs 128 int8 $pair_files
teach short2 128 int8 short2.jsonl
teach middle 128 int8 middle.jsonl
teach short3 128 int8 short3.jsonl
reached vectors

# A bidirectional transformer with random weights, and what is left of it without attentions and MLPs: embeddings and a norm.
# shellcheck disable=SC2086
[ -e random ] || "$secateur" model create "$config" --pooling mean --max-length 256 --out random --vocabulary $texts
[ -e embeddings ] || "$secateur" prune drop random --layers attention:0-2,mlp:0-2 --out embeddings

# Texts of all kinds in each stage: a batch is of one file. InfoNCE learns from pairs, alignment and distillation from the teacher.
# FROM TO STEPS and more.
stage() {
    from=$1 to=$2 steps=$3
    shift 3
    [ -e "$to/model" ] || "$secateur" train "$from" --full --steps $((steps * factor)) --save-every 100 --resume --out "$to" \
        --temperature 0.05 --alignment-weight 20 --distillation-weight 0.5 --decay cosine "$@"
}
all_pairs=$(echo $pair_files | tr ' ' ',')
stage embeddings static 8000 --batch-size 256 --learning-rate 1e-2 --warmup 20 --passage-length 128 --query-length 48 \
    --data "short1.jsonl,short2.jsonl,short3.jsonl,middle.jsonl,$all_pairs" \
    --teacher-vectors short1.vectors,short2.vectors,short3.vectors,middle.vectors,pairs.vectors
[ -e default ] || "$secateur" model create embeddings/config.json --grow static/model --pooling mean --max-length 256 --half --out default
echo "$out/default"
reached default

# Layers that add nothing at first. They learn from longer texts.
teach short1-long 256 bf16 short1.jsonl
teach middle-long 256 bf16 middle.jsonl
# shellcheck disable=SC2086
teach pairs-long 256 bf16 $pair_files
[ -e grown3 ] || "$secateur" model create "$config" --grow default --pooling mean --max-length 256 --out grown3
stage grown3 grown 2000 --batch-size 128 --learning-rate 2e-3 --warmup 100 --seed 5 --passage-length 256 --query-length 64 \
    --precision bf16 --data "short1.jsonl,middle.jsonl,$all_pairs" \
    --teacher-vectors short1-long.vectors,middle-long.vectors,pairs-long.vectors
[ -e attentions ] || "$secateur" prune drop grown/model --layers mlp:0-2 --out attentions
echo "$out/grown/model" "$out/attentions"
