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
batch=1024
mkdir -p "$out"

# One drafter: name and further options. All share one cache of the target's states, those that target layer inference needs included.
train() {
    local name=$1
    shift
    echo "== $name"
    "$llspec" train --model "$target" --data "$data" --out "$out/$name" --cache "$out/states" --cache-tli 1,3 --tokens $batch --steps $((tokens / batch)) --warm-up 30 \
        --kl-tokens 6144 --kl-drawn 4096 --held-out 24 --draft-vocabulary 8192 --products "${PRODUCTS:-f32}" "$@"
}

train moa-0
# As many trainable weights within 5 %: EAGLE's layer has no LSA, so its MLP is wider.
train eagle --kind eagle --mlp 2240
train moa-1 --tli 1
train moa-3 --tli 3
train no-lsa --no-lsa
train no-ca --no-ca
train fixed-horizon --horizon 14
train independent --kind independent --layers 2 --hidden 192

# Changes tried against moa-0.
train muon --optimiser muon --lr 0.003
train eagle-muon --kind eagle --mlp 2240 --optimiser muon --lr 0.003
train moa-1-muon --tli 1 --optimiser muon --lr 0.003
train muon-align --optimiser muon --lr 0.003 --align 200
train init-target --init-target
train paper-loss --loss paper
train staircase --staircase-steps $((tokens / batch / 2))
