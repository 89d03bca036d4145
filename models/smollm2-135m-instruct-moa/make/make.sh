#!/usr/bin/env bash
# The third training of this drafter (the others: docs/results/training-smollm2.md): usage: make.sh TARGET.gguf START OUT ANSWERS.jsonl...
# START is the drafter that it goes on from, ANSWERS files of `llspec distill` with the target's own answers. Stopped at any moment it goes on where it stood.
# Two quiet cores with AVX-512 VNNI and BF16 take 35 minutes for the answers and an hour for the training. LLSPEC names the command.
set -euo pipefail

(($# >= 4)) || {
    echo "usage: $0 TARGET.gguf START OUT ANSWERS.jsonl..." >&2
    exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
llspec=${LLSPEC:-$here/../../../out/llspec}
target=$1 start=$2 out=$3
shift 3
mkdir -p "$out"

python3 "$here/long_texts.py" instructions "$out/instructions.jsonl"
"$llspec" distill --model "$target" --prompts "$out/instructions.jsonl" --out "$out/ids.jsonl" --max-new 1
python3 "$here/long_texts.py" prompts "$out/ids.jsonl" "$out/long-prompts.jsonl" "$@"
"$llspec" distill --model "$target" --prompts "$out/long-prompts.jsonl" --out "$out/long.jsonl" --rows 48 --max-new 160
python3 "$here/long_texts.py" texts "$out/long.jsonl" "$out/long-texts.jsonl"
"$llspec" distill --model "$target" --self 6876 --seed 301 --starts "$here/starts.txt" --out "$out/answers-3.jsonl" --rows 64

data=(--data "$out/answers-3.jsonl" --data "$out/long-texts.jsonl")
for file in "$@"; do
    data+=(--data "$file")
done
"$llspec" train --model "$target" "${data[@]}" --init "$start" --out "$out/drafter" --optimiser muon --lr 0.0015 --steps 2050 --warm-up 30 --seed 11 --measure-every 500 \
    --products bf16 --tokens 1536 --kl-tokens 6144 --kl-drawn 4096 --held-out 24 --draft-vocabulary 8192
