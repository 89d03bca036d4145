#!/usr/bin/env python3
"""llama.cpp's prompt lookup (its speculative mode that needs no second model) over files of prompts, one process a prompt.

usage: llama-lookup.py LLAMA_LOOKUP MODEL.gguf LIMIT MAX_NEW THREADS DRAFT FILE.jsonl...

Prints, per file and over all, decoded tokens per second (prompts not counted) and drafted and accepted tokens. DRAFT is the longest draft; 0 decodes plainly.
The prompt is the first turn in SmolLM2's chat template, greedy.
"""
import json
import re
import subprocess
import sys
import tempfile

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def template(turn):
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n"


def run(program, model, prompt, new, threads, draft):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(prompt)
        file.flush()
        command = [program, "-m", model, "-f", file.name, "-n", str(new), "-t", str(threads), "-tb", str(threads), "--temp", "0", "--spec-draft-n-max", str(draft), "-c", "2048"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    text = done.stdout + done.stderr
    decoded = re.search(r"decoded\s+(\d+) tokens in\s+([\d.]+) seconds", text)
    if done.returncode != 0 or decoded is None:
        sys.exit(f"{' '.join(command)} ended with {done.returncode} and no figures:\n{text[-2000:]}")
    counts = [int(re.search(rf"{name}\s*=\s*(\d+)", text).group(1)) for name in ("n_drafted", "n_accept")]
    return int(decoded.group(1)), float(decoded.group(2)), *counts


def main():
    if len(sys.argv) < 8:
        sys.exit(__doc__)
    program, model, limit, new, threads, draft = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
    total = [0, 0.0, 0, 0]
    for path in sys.argv[7:]:
        with open(path, encoding="utf-8") as file:
            prompts = [json.loads(line)["turns"][0] for line in file][:limit]
        sums = [sum(column) for column in zip(*(run(program, model, template(p), new, threads, draft) for p in prompts))]
        total = [a + b for a, b in zip(total, sums)]
        print(f"{path}: {sums[0] / sums[1]:.1f} tokens/s, {sums[2]} drafted, {sums[3]} accepted", flush=True)
    print(f"all: {total[0] / total[1]:.1f} tokens/s, {total[2]} drafted, {total[3]} accepted")


if __name__ == "__main__":
    main()
