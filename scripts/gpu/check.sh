#!/usr/bin/env bash
# Everything that only a GPU can show, in one call of at most 570 s: is what it computes right, and how fast is it, beside Hugging
# Face Transformers with torch.compile on the same card. Steps are independent, each with a time limit of its own; every result
# is a JSON line on standard output and in OUT/results.jsonl, and a table comes last.
#
#   scripts/gpu/check.sh [--secateur FILE] [--out FOLDER] [--only STEP[,STEP...]] [--seconds N]
#
# FILE is the executable or its gzip; target/dist/secateur unless given. Steps: find probe sanitizer ceilings ours theirs graphs search
# train. Exits with 0 if every step that ran passed.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
executable="$here/../../target/dist/secateur"
out="${OUT:-gpu-check}"
only=""
seconds=570
while [ $# -gt 0 ]; do
    case "$1" in
        --secateur) executable="$2"; shift 2 ;;
        --out) out="$2"; shift 2 ;;
        --only) only="$2"; shift 2 ;;
        --seconds) seconds="$2"; shift 2 ;;
        *) echo "check.sh: unknown argument $1; see the head of this file" >&2; exit 2 ;;
    esac
done
mkdir -p "$out" || exit 2
results="$out/results.jsonl"
: > "$results"
begin=$SECONDS
failed=0

left() { echo $((seconds - (SECONDS - begin))); }

# A JSON line of two strings more.
say() { printf '{"what": "%s", "%s": "%s"}\n' "$1" "$2" "$(printf '%s' "$3" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g' | tail -c 600)" | tee -a "$results"; }

wanted() { [ -z "$only" ] || case ",$only," in *",$1,"*) true ;; *) false ;; esac; }

# step NAME LIMIT COMMAND...: runs it for at most LIMIT seconds and what is left of all. Its JSON lines are kept; what it says on
# standard error goes to OUT/NAME.log, whose end is told if it fails.
step() {
    local name="$1" limit="$2" status since=$SECONDS
    shift 2
    wanted "$name" || return 0
    [ "$(left)" -ge 10 ] || { say "$name" skipped "no time is left"; failed=1; return 1; }
    [ "$limit" -le "$(left)" ] || limit="$(left)"
    timeout --kill-after=5 "$limit" "$@" 2> "$out/$name.log" | tee "$out/$name.out" | grep --line-buffered '^{' | tee -a "$results"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 0 ]; then
        say "$name" passed "$((SECONDS - since)) s"
    else
        failed=1
        [ "$status" -eq 124 ] && echo "stopped after $limit s" >> "$out/$name.log"
        say "$name" failed "exit $status: $(tail -n 5 "$out/$name.log")"
    fi
    return "$status"
}

# ---- what there is
find_card() {
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader > "$out/card" || { echo "no card: nvidia-smi finds none" >&2; return 1; }
    say card name "$(head -n 1 "$out/card")"
}
case "$executable" in
    *.gz)
        if gzip -dc "$executable" > "$out/secateur"; then chmod +x "$out/secateur"; fi
        executable="$out/secateur"
        ;;
esac
# cuBLASLt comes with PyTorch's packages, the driver with the machine.
library="$(python3 - 2> /dev/null <<'PYTHON'
import glob, site, sys
for folder in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
    for found in glob.glob(folder + "/nvidia/*/lib/libcublasLt.so.1[23]"):
        print(found.rsplit("/", 1)[0])
        raise SystemExit
PYTHON
)"
[ -n "$library" ] || library="$(dirname "$(find / -xdev -name 'libcublasLt.so.1[23]' -print -quit 2> /dev/null || true)")"
export LD_LIBRARY_PATH="$library:/usr/local/nvidia/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

say libraries found "${library:-none}"
card=0
if wanted find; then
    if find_card 2> "$out/find.log"; then card=1; say find passed "$executable"; else failed=1; say find failed "$(cat "$out/find.log")"; fi
else
    find_card > /dev/null 2>&1 && card=1
fi
[ -x "$executable" ] || { failed=1; say executable failed "there is no executable $executable: build it with cargo build --profile dist"; }
ours() { "$executable" "$@" --json; }
export executable out
export -f ours

# ---- is it right?
step probe 60 "$executable" bench gpu --probe --json
sanitizer() {
    local tool what checker
    checker="$(command -v compute-sanitizer || find / -xdev -name compute-sanitizer -type f -print -quit 2> /dev/null)"
    [ -n "$checker" ] || { printf '{"what": "sanitizer", "skipped": "compute-sanitizer is not here"}\n'; return 0; }
    # An encoder, a layer of a decoder, and exact search: each kernel of the forward is in one of them.
    for tool in memcheck racecheck; do
        for what in "--config minilm --random-weights" "--config mistral-7b --drop-mlp 31 --drop-attention 31 --random-weights" "--search --rows 20000 --dim 96"; do
            # shellcheck disable=SC2086  # words
            "$checker" --tool "$tool" --error-exitcode 9 "$executable" bench gpu $what --seconds 0.01 --json > "$out/$tool.out" 2>&1 ||
                { echo "$tool of bench gpu $what" >&2; tail -n 3 "$out/$tool.out" >&2; return 1; }
            printf '{"what": "sanitizer", "tool": "%s", "of": "%s", "errors": 0}\n' "$tool" "$what"
        done
    done
}
export -f sanitizer
step sanitizer 80 bash -c sanitizer

# ---- how fast is it?
ceilings() { ours bench gpu --ceilings && python3 "$here/theirs.py" --only ceilings --seconds 25; }
speed() {
    # Full, then what EffiR leaves out: 16 MLPs and 30% of the others' neurons. Then a small encoder, and MLPs or attentions alone.
    ours bench gpu --config mistral-7b --random-weights || return
    ours bench gpu --config mistral-7b --drop-mlp 16 --width 0.7 --random-weights || return
    ours bench gpu --config minilm --random-weights || return
    for dropped in "mlp 8" "mlp 16" "mlp 20" "attention 8" "attention 16"; do
        ours bench gpu --config mistral-7b --drop-${dropped% *} "${dropped#* }" --random-weights --seconds 0.5 || return
    done
}
export here
export -f ceilings speed
step ceilings 45 bash -c ceilings
step ours 150 bash -c speed
step theirs 190 python3 "$here/theirs.py" --configs full,effir,minilm --seconds 180
# CUDA graphs are what suits a single query of theirs best.
step graphs 40 python3 "$here/theirs.py" --configs full,effir --modes reduce-overhead --shapes query1 --seconds 35

# ---- exact search: the same hits as the CPU's, and how fast beside PyTorch's matmul and topk. The host needs 21 GB.
search() { ours bench gpu --search --rows 1000000 --dim 4096 --seconds 1 && python3 "$here/theirs.py" --only search --seconds 25; }
export -f search
step search 90 bash -c search

# ---- training: steps of LoRA on the 7B shape, then PEFT's on the same card
train() {
    ours bench gpu --config mistral-7b --random-weights --train --steps 5 || return
    python3 "$here/theirs.py" --only train --seconds 45
}
export -f train
step train 120 bash -c train

python3 "$here/theirs.py" --table "$results" | tee "$out/table.txt"
say check "$([ "$failed" -eq 0 ] && echo passed || echo failed)" "$((SECONDS - begin)) s, card $card"
exit "$failed"
