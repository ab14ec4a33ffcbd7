"""Writes what in-context RALM and REPLUG read and predict on a tiny decoder, computed straight from their definitions with transformers.

Run from the repository root:  python tools/reference/rlm_golden.py     (needs: torch, transformers, tokenizers)

src/rlm/fixtures/passages_in_front.json, for src/rlm/in-context.test.ts: settings, passages, and for each segment
    ids, from, document     tokens, and the position of the first token to score
    stretches               of each retrieval: the text to retrieve with, the candidates that the test's source must give, with scores
    none, first, logProbability, oracle, replug
                            log-probabilities of the scored tokens: without a passage, with the first candidate, with the candidates
                            that the rerankers choose, and mixed by softmax(score / temperature)

PyTorch computes in float64.
"""

import json
import pathlib
import random

import torch
import transformers
from tokenizers import Tokenizer

FOLDER = "src/models/language/fixtures/causal/llama-untied"
OUT = pathlib.Path("src/rlm/fixtures/passages_in_front.json")
SETTINGS = dict(retrievalStride=5, queryTokens=6, passageTokens=7, passageFormat="Q{passage}W", contextTokens=4)
PREFIX = 3
TEMPERATURE = 0.7
K = 3
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"

random.seed(4)
model = transformers.LlamaForCausalLM.from_pretrained(FOLDER, attn_implementation="sdpa").double().eval()
tokenizer = Tokenizer.from_file(f"{FOLDER}/tokenizer.json")
passages = ["".join(random.choices(LETTERS, k=random.choice([2, 4, 9, 12]))) for _ in range(12)]


def encode(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def log_probabilities(ids, start):
    with torch.no_grad():
        scores = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
    return [scores[t - 1, ids[t]].item() for t in range(start, len(ids))]


def with_passage(segment, text, start, end):
    """Tokens of [head; passage; rest of the context; target], and where the target begins."""
    ids, head = segment["ids"], segment["head"]
    before, after = SETTINGS["passageFormat"].split("{passage}")
    context, target = ids[head:start], ids[start:end]
    must_stay = len(context) if "query" in segment else min(len(context), SETTINGS["contextTokens"])
    tail = encode(after)
    space = segment["room"] - head - len(target)
    body = encode(before + text)[: SETTINGS["passageTokens"]][: max(0, space - must_stay - len(tail))]
    passage = body + tail if body else []
    while head + len(passage) + len(context) + len(target) > segment["room"]:
        context = context[1:]
    front = ids[:head] + passage + context
    return front + target, len(front)


def score(segment, text, start, end):
    return log_probabilities(*with_passage(segment, text, start, end))


def compute(segment):
    ids, head = segment["ids"], segment["head"]
    first = max(segment["from"], 1)
    step = len(ids) if "query" in segment else SETTINGS["retrievalStride"]
    names = ["none", "first", "logProbability", "oracle", "replug"]
    result = dict(segment, stretches=[], **{name: [] for name in names})
    for start in range(first, len(ids), step):
        end = min(start + step, len(ids))
        plain = log_probabilities(ids[:end], start)
        result["none"] += plain
        if start <= head:
            for name in names[1:]:
                result[name] += plain
            continue
        query = segment.get("query") or tokenizer.decode(ids[max(head, start - SETTINGS["queryTokens"]) : start])
        rows = random.sample(range(len(passages)), K)
        scores = sorted((round(random.uniform(-1, 2), 3) for _ in rows), reverse=True)
        result["stretches"].append(dict(query=query, target=tokenizer.decode(ids[start:end]), rows=rows, scores=scores))
        texts = [passages[row] for row in rows]
        each = [score(segment, text, start, end) for text in texts]
        predicted = head if "query" in segment else max(head, start - PREFIX)
        prefix = [sum(score(segment, text, predicted, start)) for text in texts]
        result["first"] += each[0]
        result["logProbability"] += each[prefix.index(max(prefix))]
        result["oracle"] += max(each, key=sum)
        weights = torch.softmax(torch.tensor(scores, dtype=torch.float64) / TEMPERATURE, 0)
        mixed = (weights[:, None] * torch.tensor(each, dtype=torch.float64).exp()).sum(0)
        result["replug"] += mixed.log().tolist()
    return result


def text(n):
    return random.choices(range(2, 52), k=n)


SEGMENTS = [
    {"ids": text(24), "from": 8, "head": 0, "room": 24},
    {"ids": [0] + text(22), "from": 1, "head": 1, "room": 23},
    {"ids": text(13), "from": 0, "head": 0, "room": 13},
    {"ids": [0] + text(9), "from": 7, "head": 1, "room": 32, "query": "what"},
    {"ids": [0] + text(9), "from": 7, "head": 1, "room": 13, "query": "which"},
    {"ids": [0] + text(9), "from": 7, "head": 1, "room": 11, "query": "who"},
]
cases = [compute(segment) for segment in SEGMENTS]
golden = dict(folder=FOLDER, settings=SETTINGS, prefixTokens=PREFIX, temperature=TEMPERATURE, passages=passages, segments=cases)
OUT.write_text(json.dumps(golden) + "\n")
for case in cases:
    print(len(case["ids"]), [sum(case[name]) for name in ["none", "first", "logProbability", "oracle", "replug"]])
