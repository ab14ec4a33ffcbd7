"""Writes what a whole RPT computes for a text, from the formulas alone, token by token.

Run from the repository root:  python tools/reference/rpt_golden.py     (needs: numpy, safetensors)

For src/rlm/rpt-golden.test.ts: src/rlm/fixtures/rpt.json with

    config, ids           shape of the added parts, and the text
    chunks                for each chunk: the chunks it may choose from and their scores, the neighbours chosen, and their gates
    logProbabilities      log p of each token but the first

The base is the tiny Llama of src/models/language/fixtures/causal/llama-untied. The weights of the added parts are sines of their place and name
(`added`). Windows are read one after another, and each token attends by a loop over the tokens that it sees: nothing is batched, cut, shifted or
masked. The formulas are those of Rubin and Berant 2023 (arXiv:2306.13421), with the differences that docs/language-models.md names. NumPy
computes in float64.
"""

import json
import math
import pathlib

import numpy as np
from safetensors.numpy import load_file

BASE = pathlib.Path("src/models/language/fixtures/causal/llama-untied")
OUT = pathlib.Path("src/rlm/fixtures/rpt.json")
CONFIG = {
    "chunkTokens": 4,
    "neighbours": 2,
    "crossLayers": [1, 2],
    "encoderLayers": 2,
    "encoderCrossLayers": [1],
    "heads": 2,
    "headSize": 4,
    "encoderInner": 10,
    "window": 16,
    "stride": 8,
    "gateFloor": 0.1,
}
M, K, WINDOW, STRIDE = (CONFIG[name] for name in ("chunkTokens", "neighbours", "window", "stride"))
HEADS, SIZE = CONFIG["heads"], CONFIG["headSize"]
EPSILON = 1e-5

base = json.loads((BASE / "config.json").read_text())
D = base["hidden_size"]
model = {name: tensor.astype(np.float64) for name, tensor in load_file(BASE / "model.safetensors").items()}


def added(name, *shape):
    """A parameter of the added parts, rounded to float32."""
    seed = sum((i + 1) * ord(letter) for i, letter in enumerate(name)) % 1000
    x = np.sin(12.9898 * (np.arange(math.prod(shape)) + 1) + 78.233 * (seed + 1))
    if name.endswith("norm.weight"):
        x = 1 + 0.3 * x
    elif name == "rpt.gate.weight":
        x = 12 * x
    else:
        x = 0.8 * x
    return x.astype(np.float32).astype(np.float64).reshape(shape)


def rms(x, weight, epsilon=EPSILON):
    return x / np.sqrt(np.mean(x * x) + epsilon) * weight


def rotated(x, position):
    half = len(x) // 2
    angles = position * 10_000.0 ** (-2 * np.arange(half) / len(x))
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)])


def softmax(x):
    powers = np.exp(x - np.max(x))
    return powers / powers.sum()


def attend(query, read, name, null=None, turned=True):
    """Attention of the added parts from (vector, position) to a list of such pairs."""
    width = HEADS * SIZE
    wq, wk, wv = (added(f"{name}.{part}_proj.weight", width, D) for part in "qkv")
    vector, place = query
    heads = []
    for h in range(HEADS):
        part = slice(h * SIZE, (h + 1) * SIZE)
        turn = rotated if turned else lambda x, _: x
        q = turn((wq @ vector)[part], place)
        keys = [turn((wk @ x)[part], at) for x, at in read]
        values = [(wv @ x)[part] for x, _ in read]
        if null is not None:
            keys.append(null[0][part])
            values.append(null[1][part])
        shares = softmax(np.array([q @ key for key in keys]) / math.sqrt(SIZE))
        heads.append(sum(share * value for share, value in zip(shares, values)))
    return added(f"{name}.o_proj.weight", D, width) @ np.concatenate(heads)


def gelu(x):
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def encode_chunk(states):
    """One layer of attention in both directions."""
    norm = added("rpt.chunk.norm.weight", D)
    normed = [(rms(x, norm), i) for i, x in enumerate(states)]
    return [x + attend(normed[i], normed, "rpt.chunk.attn") for i, x in enumerate(states)]


def encode_neighbour(states, chunk):
    """Encodes a neighbour and its successor, 2m states, in the light of the chunk that reads them."""
    name = "rpt.encoder"
    chunk = [(rms(x, added(f"{name}.chunk_norm.weight", D)), i) for i, x in enumerate(chunk)]
    e = list(states)
    for layer in range(CONFIG["encoderLayers"]):
        at = f"{name}.layers.{layer}"
        norm = added(f"{at}.self_norm.weight", D)
        normed = [(rms(x, norm), i) for i, x in enumerate(e)]
        e = [x + attend(normed[i], normed, f"{at}.self_attn") for i, x in enumerate(e)]
        if layer + 1 in CONFIG["encoderCrossLayers"]:
            norm = added(f"{at}.cross_norm.weight", D)
            e = [x + attend((rms(x, norm), i), chunk, f"{at}.cross_attn") for i, x in enumerate(e)]
        norm, inner = added(f"{at}.mlp_norm.weight", D), CONFIG["encoderInner"]
        up, up_bias = added(f"{at}.mlp.up_proj.weight", inner, D), added(f"{at}.mlp.up_proj.bias", inner)
        down, down_bias = added(f"{at}.mlp.down_proj.weight", D, inner), added(f"{at}.mlp.down_proj.bias", D)
        e = [x + down @ gelu(up @ rms(x, norm) + up_bias) + down_bias for x in e]
    return [rms(x, added(f"{name}.norm.weight", D)) for x in e]


class Chunk:
    """Chunk of the text that is complete: its content, and the neighbours that the tokens after it read."""

    def __init__(self, number, start, states, before):
        self.states = encode_chunk(states)
        pooled = rms(np.mean(self.states, axis=0), added("rpt.retriever.norm.weight", D))
        self.query = added("rpt.retriever.query.weight", D, D) @ pooled
        self.key = added("rpt.retriever.key.weight", D, D) @ pooled
        # A neighbour lies with its successor before the window.
        self.allowed = [j for j in range(number) if (j + 2) * M <= start]
        self.scores = [self.query @ before[j].key / math.sqrt(D) for j in self.allowed]
        order = sorted(zip(self.scores, self.allowed), reverse=True)
        self.chosen = [j for _, j in order[:K]]
        encoded = [encode_neighbour(before[j].states + before[j + 1].states, self.states) for j in self.chosen]
        self.pooled, self.gates = [], []
        norm, w = added("rpt.gate.norm.weight", D), added("rpt.gate.weight", D)
        for states in encoded:
            self.pooled.append(np.mean(states, axis=0))
            # Neighbours of earlier chunks, better ones of this chunk, and the neighbour itself.
            seen = [mean for chunk in before for mean in chunk.pooled] + self.pooled
            read = [(rms(mean, norm), 0) for mean in seen]
            own = self.pooled[-1] + attend(read[-1], read, "rpt.gate.attn", turned=False)
            self.gates.append(max(CONFIG["gateFloor"], 1 / (1 + math.exp(-(w @ own) / D))))
        self.neighbours = [[gate * x for x in states] for gate, states in zip(self.gates, encoded)]


def cross_attention(x, t, chunk, layer):
    """What token t of a window reads of the neighbours of the chunk that it follows."""
    name = f"rpt.cross.{layer}"
    read = [(state, i) for states in chunk.neighbours for i, state in enumerate(states)]
    if not read:
        return np.zeros(D)
    null = added(f"{name}.null_key", HEADS * SIZE), added(f"{name}.null_value", HEADS * SIZE)
    place = (t - (M - 1)) % M + M - 1
    return attend((rms(x, added(f"{name}.norm.weight", D)), place), read, name, null)


def self_attention(hidden, at):
    heads, groups, size = base["num_attention_heads"], base["num_key_value_heads"], base["head_dim"]
    norm = model[f"{at}.input_layernorm.weight"]
    normed = [rms(x, norm, base["rms_norm_eps"]) for x in hidden]
    q, k, v = ([model[f"{at}.self_attn.{part}_proj.weight"] @ x for x in normed] for part in "qkv")
    result = []
    for t, x in enumerate(hidden):
        mixed = []
        for h in range(heads):
            own, shared = slice(h * size, (h + 1) * size), h // (heads // groups)
            group = slice(shared * size, (shared + 1) * size)
            query = rotated(q[t][own], t)
            scores = [query @ rotated(k[s][group], s) / math.sqrt(size) for s in range(t + 1)]
            mixed.append(sum(share * v[s][group] for s, share in enumerate(softmax(np.array(scores)))))
        result.append(x + model[f"{at}.self_attn.o_proj.weight"] @ np.concatenate(mixed))
    return result


def feed_forward(x, at):
    y = rms(x, model[f"{at}.post_attention_layernorm.weight"], base["rms_norm_eps"])
    gate, up = model[f"{at}.mlp.gate_proj.weight"] @ y, model[f"{at}.mlp.up_proj.weight"] @ y
    return x + model[f"{at}.mlp.down_proj.weight"] @ (gate / (1 + np.exp(-gate)) * up)


def read_window(ids, start, chunks):
    """Reads a window, adds its new chunks, and returns log p of each token of the vocabulary after each token."""
    hidden = [model["model.embed_tokens.weight"][token] for token in ids]
    for layer in range(1, base["num_hidden_layers"] + 1):
        at = f"model.layers.{layer - 1}"
        hidden = self_attention(hidden, at)
        if layer == CONFIG["crossLayers"][0]:
            for u in range(len(ids) // M):
                number = start // M + u
                if number == len(chunks):
                    chunks.append(Chunk(number, start, hidden[u * M : (u + 1) * M], chunks))
        if layer in CONFIG["crossLayers"]:
            # The last token of a chunk is the first one that reads its neighbours.
            hidden = [
                x if t < M - 1 else x + cross_attention(x, t, chunks[(start + t + 1) // M - 1], layer)
                for t, x in enumerate(hidden)
            ]
        hidden = [feed_forward(x, at) for x in hidden]
    logits = [model["lm_head.weight"] @ rms(x, model["model.norm.weight"], base["rms_norm_eps"]) for x in hidden]
    return [x - np.max(x) - math.log(np.exp(x - np.max(x)).sum()) for x in logits]


ids = [4 + (7 * i + 3 * (i // 5) + i * i // 9) % 44 for i in range(43)]
chunks, found, covered = [], [], 1
for start in range(0, len(ids), STRIDE):
    if covered >= len(ids):
        break
    window = ids[start : start + WINDOW]
    logs = read_window(window, start, chunks)
    found += [logs[t - start - 1][ids[t]] for t in range(covered, start + len(window))]
    covered = start + len(window)

content = {
    "config": CONFIG,
    "ids": ids,
    "chunks": [{name: list(getattr(c, name)) for name in ("allowed", "scores", "chosen", "gates")} for c in chunks],
    "logProbabilities": found,
}
OUT.parent.mkdir(exist_ok=True)
OUT.write_text(json.dumps(content) + "\n")
print(f"{OUT}: {OUT.stat().st_size} bytes")
for number, chunk in enumerate(chunks):
    print(number, chunk.chosen, np.round(chunk.scores, 3), np.round(chunk.gates, 3))
