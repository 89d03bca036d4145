#!/usr/bin/env bash
# Trains the drafters of the comparison at one budget, one after the other: usage: train-comparison.sh TARGET DATA.jsonl OUT [TOKENS]
# Stopped at any moment it goes on where it stood. LLSPEC names the command (by default the one beside this script, else out/llspec); PRODUCTS=bf16 rounds products.
set -euo pipefail

(($# >= 3)) || {
    echo "usage: $0 TARGET DATA.jsonl OUT [TOKENS]" >&2
    exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
llspec=${LLSPEC:-$here/llspec}
[[ -x $llspec ]] || llspec=$here/../out/llspec
target=$1 data=$2 out=$3 tokens=${4:-1000000}
batch=2048
mkdir -p "$out"

# One drafter: name, N of target layer inference (its cache), further options.
train() {
    local name=$1 layers=$2
    shift 2
    echo "== $name"
    "$llspec" train --model "$target" --data "$data" --out "$out/$name" --cache "$out/states-$layers" --tokens $batch --steps $((tokens / batch)) \
        --kl-share 0.5 --kl-tokens 6144 --kl-drawn 4096 --products "${PRODUCTS:-f32}" "$@"
}

train moa-0 0
# As many trainable weights within 5 %: EAGLE's layer has no LSA, so its MLP is wider.
train eagle 0 --kind eagle --mlp 2240
train moa-1 1 --tli 1
train moa-3 3 --tli 3
train no-lsa 0 --no-lsa
train no-ca 0 --no-ca
train fixed-horizon 0 --horizon 14
train independent 0 --kind independent --layers 2 --hidden 192

# Changes tried against moa-0.
train paper-loss 0 --loss paper
train high-rate 0 --lr 0.003
train staircase 0 --staircase-steps $((tokens / batch / 2))
