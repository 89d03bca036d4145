#!/usr/bin/env bash
# Makes the embedded pair, from the text of a Debian package to the table of its taus: models/make-embedded.sh FOLDER [baselines] [install]
# FOLDER gets text, tokenizer, answers and trainings (about 100 MB). A killed run is started again with the same command and goes on;
# with `install` the result replaces what lies in models/. With `baselines` EAGLE-2 and independent drafters of the same budget are trained, too; they are not
# in the repository, to keep it small. Needs the Debian package bible-kjv; LLSPEC names another CLI than out/llspec.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${1:?usage: models/make-embedded.sh FOLDER [baselines] [install]}
baselines='' install=''
for word in "${@:2}"; do
    case $word in
    baselines | install) declare "$word=yes" ;;
    *)
        echo "make-embedded.sh: found '$word', expected baselines or install" >&2
        exit 2
        ;;
    esac
done
llspec=${LLSPEC:-$root/out/llspec}
mkdir -p "$work"

# The King James text, 1611: its copyright has expired. One verse a line, a blank line between chapters.
if [[ ! -s $work/kjv.txt ]]; then
    bible -f gen1:1-rev22:21 | awk '{
        chapter = $1
        sub(/:[0-9]+$/, "", chapter)
        if (NR > 1 && chapter != last) print ""
        last = chapter
        sub(/^[^ ]+ /, "")
        print
    }' >"$work/kjv.txt.part"
    mv "$work/kjv.txt.part" "$work/kjv.txt"
fi

# The first 2 to 17 words of verses, in seeded order, as prompts. Every 50th chapter is held out from all training (as train-target does):
# the last argument says whether to take those, or the others.
prompts() {
    awk -v seed="$1" -v count="$2" -v held="$3" '
        function random(n) { seed = (seed * 16807) % 2147483647; return seed % n }
        BEGIN { chapter = 1 }
        /^$/ { chapter++; next }
        (chapter % 50 == 0) == held { verses[n++] = $0 }
        END {
            for (i = 0; i < count; i++) {
                words = split(verses[random(n)], word, " ")
                take = 2 + random(16)
                text = word[1]
                for (w = 2; w <= take && w < words; w++) text = text " " word[w]
                gsub(/["\\]/, "\\\\&", text)
                printf "{\"prompt\":\"%s\"}\n", text
            }
        }' "$work/kjv.txt"
}
prompts 1 3000 0 >"$work/prompts-sampled.jsonl"
prompts 2 1000 0 >"$work/prompts-greedy.jsonl"
prompts 3 80 1 >"$work/held-out.jsonl"

"$llspec" train-tokenizer --text "$work/kjv.txt" --vocabulary 3072 --out "$work/tokenizer"
"$llspec" train-target --text "$work/kjv.txt" --tokenizer "$work/tokenizer" --out "$work/kjv-4m-first" --tokens 1024 --lr 0.002 --steps 1000 --schedule-steps 2200 --checkpoint-every 50
"$llspec" train-target --text "$work/kjv.txt" --tokenizer "$work/tokenizer" --out "$work/kjv-4m" --start-from "$work/kjv-4m-first" --tokens 1024 --lr 0.0013 --steps 500 --checkpoint-every 50
# Mostly sampled answers: a small target that writes greedily soon repeats itself, which teaches little.
"$llspec" distill --model "$work/kjv-4m" --prompts "$work/prompts-sampled.jsonl" --temperature 0.7 --top-p 0.95 --seed 1 --max-new 96 --rows 64 --out "$work/sampled.jsonl"
"$llspec" distill --model "$work/kjv-4m" --prompts "$work/prompts-greedy.jsonl" --max-new 96 --rows 64 --out "$work/greedy.jsonl"
"$llspec" train --model "$work/kjv-4m" --data "$work/sampled.jsonl" --data "$work/greedy.jsonl" --out "$work/kjv-4m-moa" --kv-heads 2 --mlp 256 --lsa-mlp 256 --tokens 1024 --lr 0.002 --steps 600
drafters=moa=$work/kjv-4m-moa,lookup,none names=(kjv-4m kjv-4m-moa)
if [[ -n $baselines ]]; then
    # As many trainable weights within 2 %.
    "$llspec" train --model "$work/kjv-4m" --data "$work/sampled.jsonl" --data "$work/greedy.jsonl" --out "$work/kjv-4m-eagle" --kind eagle --kv-heads 2 --mlp 1180 --tokens 1024 --lr 0.002 --steps 600
    "$llspec" train --model "$work/kjv-4m" --data "$work/sampled.jsonl" --data "$work/greedy.jsonl" --out "$work/kjv-4m-independent" --kind independent --layers 2 --hidden 192 --kv-heads 3 --mlp 314 --tokens 1024 --lr 0.002 --steps 600
    drafters=eagle=$work/kjv-4m-eagle,independent=$work/kjv-4m-independent,$drafters
    names+=(kjv-4m-eagle kjv-4m-independent)
fi

"$llspec" eval --model "$work/kjv-4m" --drafters "$drafters" --prompts "$work/held-out.jsonl" --trees 8,24,62 --max-new 96 --out "$work/eval${baselines:+-baselines}"

if [[ -n $install ]]; then
    for name in "${names[@]}"; do
        mkdir -p "$root/models/$name"
        for file in config.json model.safetensors tokenizer.json tokenizer_config.json; do
            [[ ! -f $work/$name/$file ]] || cp "$work/$name/$file" "$root/models/$name/$file"
        done
    done
fi
