#!/usr/bin/env bash
# Builds what check.sh runs on a machine with a GPU, where nothing is compiled: the program, and the tests of the kernels.
#
#   scripts/gpu/payload.sh [FOLDER]      FOLDER is target/gpu-payload unless given
#
# The program is the release build, which whoever works here has already. A card's figures do not depend on link-time optimisation.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="${1:-target/gpu-payload}"
mkdir -p "$folder"

# pack NAME ARGUMENTS...: what cargo builds, without what only a debugger reads, compressed.
pack() {
    local name="$1" made
    shift
    made="$(cargo "$@" --locked --message-format json-render-diagnostics | python3 -c '
import json, sys
made = [line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")]
print(made[-1])')"
    strip -o "$folder/$name" "$made"
    xz -f "$folder/$name"
}
pack secateur build --release --bin secateur
pack kernels test --no-run -p secateur-gpu --test integration

# What a machine takes may be limited: issue 16 speaks of 64 MiB.
of_tree="$(git ls-files -z | xargs -0 du -cb | tail -n 1 | cut -f 1)"
of_payload="$(du -cb "$folder"/*.xz | tail -n 1 | cut -f 1)"
echo "$folder: $((of_payload / 1000000)) MB; with all files of the repository $(((of_tree + of_payload) / 1000000)) MB"
