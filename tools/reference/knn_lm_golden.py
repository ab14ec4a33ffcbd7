"""Writes likelihoods of texts, and what kNN-LM with a continuous cache predicts, on tiny decoders, computed straight from their
definitions with transformers.

Run from the repository root:  python tools/reference/knn_lm_golden.py     (needs: torch, transformers, tokenizers)

src/rlm/fixtures/knn_lm.json, for src/rlm/evaluate-text.test.ts and src/rlm/knn-lm.test.ts:
    documents      texts, of which the likelihood is measured
    evaluations    of each model and each pair of window and stride: nats and number of tokens of each document
    memory         texts of the datastore
    predictions    of each model and kind of key: settings, number of entries, their values, and the log-probabilities of the scored
                   tokens of each document, read as one window: of the language model, with neighbours, with the cache, with both;
                   null where two tokens are equally far, so that rounding decides which is a neighbour

PyTorch computes in float64. Keys of the datastore are rounded to float16.
"""

import json
import pathlib
import random

import torch
import transformers
from tokenizers import Tokenizer

FOLDER = pathlib.Path("src/models/language/fixtures/causal")
OUT = pathlib.Path("src/rlm/fixtures/knn_lm.json")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
MODELS = {
    "gpt2": (transformers.GPT2LMHeadModel, lambda m: (m.transformer.h[-1].ln_2, m.transformer.h[-1].ln_1, m.transformer.ln_f)),
    "llama-untied": (
        transformers.LlamaForCausalLM,
        lambda m: (m.model.layers[-1].post_attention_layernorm, m.model.layers[-1].input_layernorm, m.model.norm),
    ),
}
KEYS = ["feed-forward-input", "attention-input", "output"]
WINDOWS = [(8, 8), (8, 3), (12, 6)]
LENGTHS = [1, 2, 9, 17, 30]
SETTINGS = dict(k=7, temperature=3.0, weight=0.3, cacheScale=0.4, cacheWeight=0.2)

random.seed(7)
GAP = 1e-4  # smallest difference of the distances of the last neighbour and the next token: nearer ones have no certain order


def text(n):
    return "".join(random.choices(LETTERS[:12], k=n))


documents = [text(n) for n in LENGTHS]
memory = [text(n) for n in [14, 9, 1, 16]]


def load(name):
    cls, modules = MODELS[name]
    model = cls.from_pretrained(FOLDER / name).double().eval()
    states = {}
    for key, module in zip(KEYS, modules(model)):
        module.register_forward_hook(lambda _, __, out, key=key: states.__setitem__(key, out[0]))
    return model, Tokenizer.from_file(str(FOLDER / name / "tokenizer.json")), states


def encode(tokenizer, words):
    ids = tokenizer.encode(words).ids  # with the start token, if there is one
    plain = tokenizer.encode(words, add_special_tokens=False).ids
    start = next(i for i in range(len(ids) - len(plain) + 1) if ids[i : i + len(plain)] == plain)
    return ids[: start + len(plain)]  # without what stands behind a text


def evaluate(model, ids, window, stride):
    """The loop of transformers' page on perplexity."""
    nats, tokens, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        input_ids = torch.tensor([ids[begin:end]])
        target_ids = input_ids.clone()
        target_ids[:, : -(end - before)] = -100
        scored = (target_ids[:, 1:] != -100).sum().item()
        if scored > 0:
            with torch.no_grad():
                nats += model(input_ids, labels=target_ids).loss.item() * scored
        tokens += scored
        before = end
        if end == len(ids):
            break
    return dict(nats=nats, tokens=tokens)


def read(model, states, ids, key):
    with torch.no_grad():
        scores = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
    own = torch.tensor([scores[t - 1, ids[t]] for t in range(1, len(ids))], dtype=torch.float64)
    return own, states[key][:-1].clone()


def predict(name, key):
    model, tokenizer, states = load(name)
    keys, values = [], []
    for words in memory:
        ids = encode(tokenizer, words)
        if len(ids) > 1:
            keys.append(read(model, states, ids, key)[1])
            values += ids[1:]
    keys = torch.cat(keys).to(torch.float16).double()
    values = torch.tensor(values)
    s = SETTINGS
    result = dict(model=name, keys=key, **s, values=values.tolist(), documents=[])
    for words in documents:
        ids = encode(tokenizer, words)
        base, queries = read(model, states, ids, key) if len(ids) > 1 else ([], [])
        arms = {arm: [] for arm in ["base", "neighbours", "cache", "both"]}
        for t in range(len(base)):
            target = ids[t + 1]
            distances = ((queries[t] - keys) ** 2).sum(-1)
            order = torch.argsort(distances)
            unsure = (distances[order[s["k"]]] - distances[order[s["k"] - 1]]).item() < GAP
            best = order[: s["k"]]
            weights = torch.softmax(-distances[best] / s["temperature"], 0)
            knn = weights[values[best] == target].sum()
            lm = base[t].exp()
            seen = torch.softmax(s["cacheScale"] * (queries[:t] @ queries[t]), 0)
            cache = seen[torch.tensor(ids[1 : t + 1]) == target].sum() if t > 0 else None
            a, b = s["weight"], s["cacheWeight"] if t > 0 else 0.0
            arms["base"].append(base[t].item())
            arms["neighbours"].append(None if unsure else ((1 - a) * lm + a * knn).log().item())
            arms["cache"].append(((1 - b) * lm + b * (cache if t > 0 else 0)).log().item())
            arms["both"].append(None if unsure else ((1 - a - b) * lm + a * knn + b * (cache if t > 0 else 0)).log().item())
        result["documents"].append(arms)
    return result


predictions = [predict(name, key) for name in MODELS for key in KEYS]
evaluations = []
for name in MODELS:
    model, tokenizer, _ = load(name)
    for window, stride in WINDOWS:
        each = [evaluate(model, encode(tokenizer, words), window, stride) for words in documents]
        evaluations.append(dict(model=name, window=window, stride=stride, documents=each))
OUT.write_text(json.dumps(dict(documents=documents, evaluations=evaluations, memory=memory, predictions=predictions)) + "\n")
for case in evaluations:
    print(case["model"], case["window"], case["stride"], sum(d["nats"] for d in case["documents"]), sum(d["tokens"] for d in case["documents"]))
for case in predictions:
    print(case["model"], case["keys"], *[sum(sum(x for x in d[arm] if x is not None) for d in case["documents"]) for arm in ["base", "neighbours", "cache", "both"]])
