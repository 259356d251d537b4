#!/usr/bin/env bash
# Compiles the kernels of gpu/kernels and writes what is committed: PTX for any GPU from compute capability 8.0 on, machine code for
# 9.0 (H100, H200), and the hashes of sources and results. Needs python3 with venv, g++ and, once, 1.2 GB of PyPI's packages; no GPU.
#
#   scripts/gpu/build.sh [FOLDER]      FOLDER is where CUDA's compiler is installed; ~/.cache/secateur-nvcc unless given
set -euo pipefail
version='13.0.*'
folder="${1:-$HOME/.cache/secateur-nvcc}"
kernels="$(cd "$(dirname "$0")/../../gpu/kernels" && pwd)"

find_nvcc() { find "$folder" -path '*/bin/nvcc' -type f 2>/dev/null | head -n 1; }
if [ -z "$(find_nvcc)" ]; then
    [ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet "cuda-toolkit[nvcc,cudart,cccl]==$version"
fi
nvcc="$(find_nvcc)"
[ -n "$nvcc" ] || { echo "build.sh: there is no nvcc in $folder: remove the folder and run this again" >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$kernels"
flags=(-std=c++17 -O3 -ccbin g++)
"$nvcc" "${flags[@]}" -gencode=arch=compute_80,code=compute_80 -ptx -o "$work/kernels.ptx" kernels.cu
"$nvcc" "${flags[@]}" -gencode=arch=compute_90,code=sm_90 -cubin -Xptxas -v -o "$work/kernels.sm_90.cubin" kernels.cu 2> "$work/ptxas"
# Kernels that spill registers are slow; this is where it shows.
sed -nE "s/.*Compiling entry function '([^']*)'.*/\1/p; /[1-9][0-9]* bytes spill/p" "$work/ptxas" | awk '/spill/ { print name ":" $0; next } { name = $0 }'
for made in kernels.ptx kernels.sm_90.cubin; do
    gzip -9n < "$work/$made" > "$made.gz"
done
sha256sum -- *.cu *.cuh *.gz > SHA256SUMS
ls -l -- *.gz
