"""Writes chunked cross-attention and the neighbour encoder of RETRO, computed position by position, with gradients.

Run from the repository root:  python tools/reference/retro_golden.py     (needs: torch, safetensors)

For src/nn/neighbour-layers.test.ts:

src/nn/fixtures/retro.safetensors
    hidden, embeddings, mask     inputs: f32[B, T, D], f32[B, l, k, r, E], f32[B, l, k, r]
    weight/<name>                parameters, by the names of chunkedCrossAttentionParameters and neighbourEncoderParameters
    states                       result of the encoder, f32[B, l, k, r, E]
    read                         result of the attention over these states, f32[B, T, D]
    seed                         f32[B, T, D]; the differentiated function is sum(seed * read)
    gradient/<name>              its gradients, for hidden, embeddings and all parameters

Every position is computed alone, from the formulas of the paper (arXiv:2112.04426) and of the two files: no chunk is cut out, shifted or
padded, and no table of positions is shared. PyTorch computes in float64; stored values are float32.
"""

import math
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path("src/nn/fixtures/retro.safetensors")
B, M, L, K, R = 2, 3, 3, 2, 5
T = L * M + 2  # the last chunk is incomplete
D, E, HEADS, SIZE, INNER = 6, 8, 2, 4, 10
LAYERS, CROSS = 2, [1]
EPSILON = 1e-5


def rotated(x, position):
    """Rotates the pairs (i, i + S/2) of one head."""
    half = len(x) // 2
    angles = torch.tensor([position * 10_000 ** (-2 * i / len(x)) for i in range(half)], dtype=torch.float64)
    a, b = x[:half], x[half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()])


def rms(x, weight):
    return x / torch.sqrt((x * x).mean() + EPSILON) * weight


def attend(query, query_position, read, w, name, null=None):
    """Attention of one vector to a list of (vector, position)."""
    q = w[f"{name}.q_proj.weight"] @ query
    keys = [w[f"{name}.k_proj.weight"] @ x for x, _ in read]
    values = [w[f"{name}.v_proj.weight"] @ x for x, _ in read]
    heads = []
    for h in range(HEADS):
        part = slice(h * SIZE, (h + 1) * SIZE)
        turned = rotated(q[part], query_position)
        scores = [turned @ rotated(key[part], at) / math.sqrt(SIZE) for key, (_, at) in zip(keys, read)]
        mixed = [value[part] for value in values]
        if null is not None:
            scores.append(turned @ null[0][part] / math.sqrt(SIZE))
            mixed.append(null[1][part])
        shares = torch.softmax(torch.stack(scores), 0)
        heads.append(sum(share * value for share, value in zip(shares, mixed)))
    return w[f"{name}.o_proj.weight"] @ torch.cat(heads)


def encode(embeddings, mask, chunk, w):
    """Encodes one neighbour [R, E] of a chunk [M, D]."""
    e = list(embeddings)
    chunk = [(rms(x, w["enc.chunk_norm.weight"]), i) for i, x in enumerate(chunk)]
    for layer in range(LAYERS):
        at = f"enc.layers.{layer}"
        normed = [rms(x, w[f"{at}.self_norm.weight"]) for x in e]
        # A neighbour without any token reads all places alike, which nothing reads in turn.
        seen = [i for i in range(R) if mask[i] > 0]
        if not seen:
            return None
        e = [
            x + attend(normed[i], i, [(normed[j], j) for j in seen], w, f"{at}.self_attn")
            for i, x in enumerate(e)
        ]
        if layer in CROSS:
            e = [x + attend(rms(x, w[f"{at}.cross_norm.weight"]), i, chunk, w, f"{at}.cross_attn") for i, x in enumerate(e)]
        inner = [
            torch.nn.functional.gelu(
                w[f"{at}.mlp.up_proj.weight"] @ rms(x, w[f"{at}.mlp_norm.weight"]) + w[f"{at}.mlp.up_proj.bias"]
            )
            for x in e
        ]
        e = [x + w[f"{at}.mlp.down_proj.weight"] @ y + w[f"{at}.mlp.down_proj.bias"] for x, y in zip(e, inner)]
    return [rms(x, w["enc.norm.weight"]) for x in e]


def forward(hidden, embeddings, mask, w):
    states = torch.zeros(B, L, K, R, E, dtype=torch.float64)
    read = []
    for b in range(B):
        encoded = {}
        for u in range(L):
            chunk = hidden[b, u * M : (u + 1) * M]
            for n in range(K):
                encoded[u, n] = encode(embeddings[b, u, n], mask[b, u, n], chunk, w)
                if encoded[u, n] is not None:
                    states[b, u, n] = torch.stack(encoded[u, n]).detach()
        for t in range(T):
            u = (t - (M - 1)) // M
            tokens = [] if u < 0 else [
                (encoded[u, n][j], j) for n in range(K) for j in range(R) if mask[b, u, n, j] > 0
            ]
            if not tokens:
                read.append(torch.zeros(D, dtype=torch.float64))
                continue
            i = t - (u * M + M - 1)  # place among the tokens that read chunk u
            query = rms(hidden[b, t], w["cca.norm.weight"])
            null = (w["cca.null_key"], w["cca.null_value"])
            # d(i, i') = i - i' + m - 1
            read.append(attend(query, i + M - 1, tokens, w, "cca", null))
    return states, torch.stack(read).reshape(B, T, D)


def shapes():
    width = HEADS * SIZE

    def projections(name, asks, reads):
        for part, (outputs, inputs) in dict(q=(width, asks), k=(width, reads), v=(width, reads), o=(asks, width)).items():
            yield f"{name}.{part}_proj.weight", (outputs, inputs)

    yield "cca.norm.weight", (D,)
    yield from projections("cca", D, E)
    yield "cca.null_key", (width,)
    yield "cca.null_value", (width,)
    yield "enc.chunk_norm.weight", (D,)
    for layer in range(LAYERS):
        at = f"enc.layers.{layer}"
        yield f"{at}.self_norm.weight", (E,)
        yield from projections(f"{at}.self_attn", E, E)
        if layer in CROSS:
            yield f"{at}.cross_norm.weight", (E,)
            yield from projections(f"{at}.cross_attn", E, D)
        yield f"{at}.mlp_norm.weight", (E,)
        yield f"{at}.mlp.up_proj.weight", (INNER, E)
        yield f"{at}.mlp.up_proj.bias", (INNER,)
        yield f"{at}.mlp.down_proj.weight", (E, INNER)
        yield f"{at}.mlp.down_proj.bias", (E,)
    yield "enc.norm.weight", (E,)


def main():
    torch.manual_seed(7)

    def drawn(*shape, scale=1.0):
        return (torch.randn(*shape) * scale).double().requires_grad_()

    w = {name: drawn(*shape, scale=0.5 if len(shape) == 2 else 0.8) for name, shape in shapes()}
    hidden, embeddings = drawn(B, T, D), drawn(B, L, K, R, E)
    mask = torch.ones(B, L, K, R)
    mask[0, 0, 1, 3:] = 0  # a short neighbour
    mask[0, 1, 1] = 0  # one neighbour only
    mask[1, 1] = 0  # none
    states, read = forward(hidden, embeddings, mask, w)
    seed = torch.randn(B, T, D)
    (read * seed.double()).sum().backward()
    tensors = {"hidden": hidden, "embeddings": embeddings, "mask": mask, "states": states, "read": read, "seed": seed}
    tensors |= {f"weight/{name}": value for name, value in w.items()}
    named = {"hidden": hidden, "embeddings": embeddings, **w}
    tensors |= {f"gradient/{name}": value.grad for name, value in named.items()}
    OUT.parent.mkdir(exist_ok=True)
    save_file({name: value.detach().float().contiguous() for name, value in tensors.items()}, OUT)
    print(f"{OUT}: {OUT.stat().st_size} bytes, |read| {read.abs().max():.3f}")


main()
