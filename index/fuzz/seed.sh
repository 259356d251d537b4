#!/usr/bin/env bash
# Puts the files of the fixtures into the corpus of each target.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/{manifest,segment,graph,journal}
# The first byte chooses the database, in a segment the second the file.
for database in 0 1; do
    version=$((3 + database))
    fixture=../tests/fixtures/database-v$version
    { printf "\\x0$database"; tail -c +65 "$fixture/MANIFEST"; } > "corpus/manifest/v$version"
    { printf "\\x0$database"; cat "$fixture/segments/0000000001/graph"; } > "corpus/graph/v$version"
    number=0
    for file in 1/documents 1/vectors 1/lengths 2/documents 2/codes 2/lengths; do
        { printf "\\x0$database\\x0$number"; cat "$fixture/segments/000000000$file"; } > "corpus/segment/v$version-$number"
        number=$((number + 1))
    done
done
# A header with the key and the length of rows that the target expects, and a record of two rows.
{
    printf 'SCTRJRNL\x01\0\0\0\x03\0\0\0'
    head -c 32 /dev/zero | tr '\0' '\7'
    head -c 16 /dev/zero
    head -c 32 /dev/zero | tr '\0' '\1'
    printf '\x02\0\0\0'
    head -c 36 /dev/zero
} > corpus/journal/record
