#!/usr/bin/env bash
# Everything that only a GPU can show, in one call of at most 570 s: is what it computes right, and how fast is it, beside Hugging
# Face Transformers with torch.compile on the same card. Steps are independent, each with a time limit of its own, the most wanted
# first. OUT has three files, whole after each step: results.jsonl with every result, table.txt, and logs.tgz.
#
#   scripts/gpu/check.sh [--payload FOLDER] [--out FOLDER] [--only STEP[,STEP...]] [--seconds N]
#
# FOLDER is what payload.sh made; target/gpu-payload unless given. Steps: probe kernels sanitizer ceilings ours theirs graphs train
# search. Exits with 0 if every step that ran passed.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
payload="$here/../../target/gpu-payload"
out="${OUT:-gpu-check}"
only=""
seconds=570
while [ $# -gt 0 ]; do
    case "$1" in
        --payload) payload="$2"; shift 2 ;;
        --out) out="$2"; shift 2 ;;
        --only) only="$2"; shift 2 ;;
        --seconds) seconds="$2"; shift 2 ;;
        *) echo "check.sh: unknown argument $1; see the head of this file" >&2; exit 2 ;;
    esac
done
mkdir -p "$out" && work="$(mktemp -d)" && mkdir "$work/logs" || exit 2
trap 'rm -rf "$work"' EXIT
logs="$work/logs"
results="$out/results.jsonl"
: > "$results"
begin=$SECONDS
failed=0

left() { echo $((seconds - (SECONDS - begin))); }

# A JSON line of two strings more.
say() { printf '{"what": "%s", "%s": "%s"}\n' "$1" "$2" "$(printf '%s' "$3" | tr '\n\t' '  ' | tr -d '\000-\037' | tail -c 600 | sed 's/[\\"]/\\&/g')" | tee -a "$results"; }

# The files in OUT as of now: whoever stops this finds them whole.
keep() {
    python3 "$here/table.py" "$results" > "$work/table" 2> "$logs/table.log" && mv "$work/table" "$out/table.txt"
    tar -czf "$work/logs.tgz" -C "$work" logs && mv "$work/logs.tgz" "$out/logs.tgz"
}

# A step is asked for by its name, or by what its name begins with up to a dash.
wanted() { [ -z "$only" ] || case ",$only," in *",${1%%-*},"*) true ;; *) false ;; esac; }

# step NAME LIMIT COMMAND...: runs it for at most LIMIT seconds and what is left of all. Its JSON lines are kept; what it says on
# standard error goes to a log, whose end is told if it fails.
step() {
    local name="$1" limit="$2" status since=$SECONDS
    shift 2
    wanted "$name" || return 0
    if [ "$(left)" -lt 5 ]; then
        failed=1
        say "$name" skipped "no time is left"
        return
    fi
    [ "$limit" -le "$(left)" ] || limit="$(left)"
    timeout --kill-after=3 "$limit" "$@" 2> "$logs/$name.log" | tee "$logs/$name.out" | grep --line-buffered '^{' | tee -a "$results"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 0 ]; then
        say "$name" passed "$((SECONDS - since)) s"
    else
        failed=1
        [ "$status" -eq 124 ] || [ "$status" -eq 137 ] && echo "stopped after $limit s" >> "$logs/$name.log"
        say "$name" failed "exit $status: $(tail -n 5 "$logs/$name.log")"
    fi
    keep
}

# ---- what there is
find_card() {
    command -v nvidia-smi > /dev/null || { echo "nvidia-smi is not here"; return 1; }
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
}
card="$(find_card 2>&1)" || { failed=1; say card failed "no card: $card"; card=none; }
say card name "$card"
# cuBLASLt comes with PyTorch's packages, the driver with the machine.
library="$(python3 - 2> /dev/null <<'PYTHON'
import glob, site, sys
for folder in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
    for found in glob.glob(folder + "/nvidia/*/lib/libcublasLt.so.1[23]"):
        print(found.rsplit("/", 1)[0])
        raise SystemExit
PYTHON
)"
[ -n "$library" ] || library="$(timeout 10 find / -xdev -name 'libcublasLt.so.1[23]' -printf '%h\n' -quit 2> /dev/null)"
export LD_LIBRARY_PATH="$library:/usr/local/nvidia/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
say libraries found "${library:-none}"
unpack() { python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"; }
for name in secateur kernels; do
    if unpack "$payload/$name.xz" > "$work/$name" 2> "$logs/payload.log"; then
        chmod +x "$work/$name"
    else
        failed=1
        say payload failed "$payload/$name.xz: $(tail -n 1 "$logs/payload.log"): run scripts/gpu/payload.sh"
    fi
done
keep
secateur() { "$work/secateur" bench gpu "$@" --json; }
theirs() { python3 "$here/theirs.py" "$@"; }
# The tests of the kernels, on the card. Those of the sources and of the emulator's memory are not of it.
kernels() { SECATEUR_GPU_TESTS=0 "$@" "$work/kernels" --test-threads 1 --skip compiled:: --skip memory:: >&2; }
export work here
export -f secateur theirs kernels

# ---- is it right?
step probe 25 bash -c 'secateur --probe'
step kernels 25 bash -o pipefail -c 'kernels 2>&1 | tee /dev/stderr | sed -n "s/^test result: ok. \([0-9]*\) passed.*/{\"what\": \"kernels\", \"tests\": \1}/p"'
sanitizer() {
    local tool of checker status=0 log
    checker="$(command -v compute-sanitizer || timeout 10 find / -xdev -name compute-sanitizer -type f -print -quit 2> /dev/null)"
    [ -n "$checker" ] || { echo '{"what": "sanitizer", "skipped": "compute-sanitizer is not here"}'; return; }
    # A decoder, whole, pruned and trained; then all kernels, those of search as well.
    for of in "model" "kernels"; do
        for tool in memcheck racecheck; do
            log="$work/logs/$tool.$of.out"
            set -- "$checker" --tool "$tool" --error-exitcode 9 --report-api-errors no
            if case "$of" in model) "$@" "$work/secateur" bench gpu --probe --only "mistral 64" --json ;; kernels) kernels "$@" ;; esac > "$log" 2>&1; then
                printf '{"what": "sanitizer", "tool": "%s", "of": "%s", "errors": 0}\n' "$tool" "$of"
            elif grep -q 'Device not supported' "$log"; then
                echo '{"what": "sanitizer", "skipped": "compute-sanitizer does not support this card"}'
                return
            else
                echo "$tool of the $of: $(tail -n 3 "$log")" >&2
                status=1
            fi
        done
    done
    return "$status"
}
export -f sanitizer
step sanitizer 30 bash -c sanitizer

# ---- how fast is it?
step ceilings 10 bash -c 'secateur --ceilings'
step ceilings-torch 20 bash -c 'theirs --only ceilings --seconds 18'
speed() {
    local status=0 dropped
    # Full, then what EffiR leaves out: 16 MLPs and 30% of the others' neurons. Then a small encoder, and MLPs or attentions alone.
    secateur --config mistral-7b --random-weights || status=1
    secateur --config mistral-7b --drop-mlp 16 --width 0.7 --random-weights || status=1
    secateur --config minilm --random-weights --seconds 0.5 || status=1
    for dropped in "mlp 16" "mlp 8" "mlp 20" "attention 8" "attention 16"; do
        secateur --config mistral-7b "--drop-${dropped% *}" "${dropped#* }" --random-weights --seconds 0.5 || status=1
    done
    return "$status"
}
export -f speed
step ours 110 bash -c speed
step theirs 155 bash -c 'theirs --configs full,minilm,effir --seconds 150'
# One CUDA graph of a whole query is what suits theirs best.
step graphs 50 bash -c 'theirs --configs minilm,full,effir --modes captured,whole --shapes query1,text1 --seconds 46'

# ---- training: steps of LoRA on the 7B shape, then PEFT's on the same card
step train 35 bash -c 'secateur --config mistral-7b --random-weights --train --steps 4'
step train-torch 40 bash -c 'theirs --only train --seconds 37'

# ---- exact search: the same hits as the CPU's, and how fast beside PyTorch's matmul and topk
step search 35 bash -c 'secateur --search --rows 1000000 --dim 4096 --compare-rows 20000 --seconds 0.7'
step search-torch 20 bash -c 'theirs --only search --seconds 18'

# ---- and for GPUs without machine code of their own: the driver compiles all kernels, which may take long
step probe-ptx 15 bash -c 'secateur --probe --only "mistral 64" --ptx'

say check "$([ "$failed" -eq 0 ] && echo passed || echo failed)" "$((SECONDS - begin)) s, card $card"
keep
cat "$out/table.txt"
exit "$failed"
