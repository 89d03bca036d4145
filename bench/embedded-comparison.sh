#!/usr/bin/env bash
# Trains the drafters of the comparison for the embedded target at one budget, that of the shipped drafter, and measures each over the held-out prompts:
# usage: embedded-comparison.sh FOLDER
# FOLDER has the answers and prompts that models/make-embedded.sh made there. Started again it goes on where it stood. LLSPEC names the command (out/llspec by default).
set -euo pipefail

(($# == 1)) || {
    echo "usage: $0 FOLDER" >&2
    exit 2
}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
llspec=${LLSPEC:-$root/out/llspec}
target=$root/models/kjv-4m work=$1 out=$1/comparison
mkdir -p "$out"

train() {
    local name=$1
    shift
    [[ -f $out/$name/trained ]] && return
    echo "== $name" >&2
    "$llspec" train --model "$target" --data "$work/sampled.jsonl" --data "$work/greedy.jsonl" --out "$out/$name" --tokens 1024 --lr 0.002 --steps 600 "$@"
    touch "$out/$name/trained"
}

# As many trainable weights within 2 %, --no-lsa apart, which has no LSA to train: EAGLE's layer is wider, an independent drafter has embeddings of its own.
moa=(--kv-heads 2 --mlp 256 --lsa-mlp 256)
train moa-0 "${moa[@]}"
train moa-1 "${moa[@]}" --tli 1
train moa-3 "${moa[@]}" --tli 3
train eagle --kind eagle --kv-heads 2 --mlp 1180
train independent --kind independent --layers 2 --hidden 192 --kv-heads 3 --mlp 314
train no-lsa "${moa[@]}" --no-lsa
train no-ca "${moa[@]}" --no-ca
train horizon-14 "${moa[@]}" --horizon 14

# A cell: tau over all prompts and its standard error. Tau is a ratio of sums, so the error is that of the residuals tokens - tau * passes.
cell() {
    awk -F'[:,]' '
        BEGIN { n = 0 }
        /"new_tokens"/ { tokens[n] = $2 - 1 }
        /"target_passes"/ { passes[n] = $2; t += tokens[n]; p += $2; n++ }
        END {
            tau = t / p
            for (i = 0; i < n; i++) sum += (tokens[i] - tau * passes[i]) ^ 2
            printf " %.2f ± %.2f |", tau, sqrt(n / (n - 1) * sum) / p
        }' "$1"
}

measure() {
    local name=$1 drafter=$2 column=$3 file=$out/$1-$3.json
    shift 3
    [[ -s $file ]] || "$llspec" compare --model "$target" --drafter "$drafter" --prompts "$work/held-out.jsonl" --max-new 64 --json "$file" "$@" >/dev/null
    cell "$file"
}

echo '| drafter | greedy, 24 | penalty 1.15, 24 | penalty 1.15, 62 | temperature 0.7, 24 |'
echo '|---|---|---|---|---|'
for name in moa-0 moa-1 moa-3 eagle independent lookup no-lsa no-ca horizon-14; do
    drafter=$out/$name
    [[ $name != lookup ]] || drafter=lookup
    printf '| %s |' "$name"
    measure "$name" "$drafter" greedy-24 --tree 5,4,24
    measure "$name" "$drafter" penalty-24 --tree 5,4,24 --repetition-penalty 1.15
    measure "$name" "$drafter" penalty-62 --tree 7,8,62 --repetition-penalty 1.15
    measure "$name" "$drafter" sampled-24 --tree 5,4,24 --temperature 0.7 --top-p 0.95
    echo
done
