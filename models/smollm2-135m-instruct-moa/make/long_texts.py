#!/usr/bin/env python3
"""Long texts for training a drafter of SmolLM2-135M-Instruct, made of the target's own answers: passages to be summarised, and second turns.

usage: long_texts.py instructions FILE                      prompts whose ids are needed, for `llspec distill --max-new 1`
       long_texts.py prompts IDS OUT ANSWERS...             2,600 prompts for `llspec distill --max-new 160`
       long_texts.py texts ANSWERED OUT                     1,900 texts for `llspec train`: the passage or first answer is learned from, too

ANSWERS and ANSWERED are files of llspec distill: {"p": prompt ids, "a": answer ids} a line.
"""
import json
import random
import sys

ON_TEXT = [
    "Summarize: ", "Summarize the following text in three sentences:\n\n", "Give a short summary of this article.\n\n", "What is this text about?\n\n",
    "Read the passage and list its main points.\n\nPassage: ", "Write one paragraph that sums up the following.\n\n", "Summarize: ", "TL;DR of the text below:\n\n",
    "Shorten this text:\n\n", "Answer from the text: what happened?\n\n",
]
FOLLOW_UP = [
    "Summarize your answer in two sentences.", "Rewrite your answer for a ten-year-old.", "Can you give an example?", "Make it shorter.", "Now put it as a list of bullet points.",
    "Explain the second point in more detail.", "Is there anything you would change in your answer, and why?", "Rephrase it in a more formal tone.",
    "What is the most important part of it?", "Write a title for it and then the text once more.", "Repeat your answer with simpler words.", "Why is that so?",
]

# SmolLM2's chat template in token ids: system turn and user header, end of a user turn and generation prompt, from the end of an answer to the next user turn, a space of its own.
HEAD, ASSISTANT, USER, SPACE = 24, [2, 198, 1, 520, 9531, 198], [198, 1, 4093, 198], 216


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def prompts(ids, answers):
    bodies = [row["p"][HEAD:-len(ASSISTANT)] for row in ids]
    head = ids[0]["p"][:HEAD]
    on_text = [body[:-1] if body[-1] == SPACE else body for body in bodies[:len(ON_TEXT)]]
    follow_up = bodies[len(ON_TEXT):]
    # Answers that ended by themselves, of some length and without a loop at the end.
    usable = [row for row in answers if row["a"][-1] == 2 and len(row["a"]) > 60 and len(set(row["a"][-49:-1])) > 24]
    choice = random.Random(5)
    for number in range(2600):
        if number % 2 == 0:
            row = choice.choice(usable)
            yield row["p"] + row["a"] + USER + choice.choice(follow_up) + ASSISTANT
            continue
        count, passage = choice.choice([1, 1, 2, 2, 3, 4]), []
        for row in choice.sample(usable, count):
            passage += ([198, 198] if passage else []) + row["a"][:-1]
        yield head + choice.choice(on_text) + passage + ASSISTANT


def text(row):
    first = next(i for i in range(HEAD, len(row["p"])) if row["p"][i:i + len(ASSISTANT)] == ASSISTANT) + len(ASSISTANT)
    start = first if first < len(row["p"]) else HEAD + 4
    return {"p": row["p"][:start], "a": row["p"][start:] + row["a"]}


def main():
    match sys.argv[1:]:
        case ["instructions", out]:
            write(out, [{"turns": [turn]} for turn in ON_TEXT + FOLLOW_UP])
        case ["prompts", ids, out, *answers] if answers:
            write(out, [{"prompt_ids": prompt} for prompt in prompts(lines(ids), [row for path in answers for row in lines(path)])])
        case ["texts", answered, out]:
            rows = [text(row) for row in lines(answered)]
            random.Random(1).shuffle(rows)
            write(out, rows[:1900])
        case _:
            sys.exit(__doc__)


main()
