"""Golden values of the loss of TRIME: a straight implementation in float64, with loops over tokens, and gradients by autograd.

    python tools/reference/memory_softmax_golden.py > src/train/trime/fixtures/memory_softmax.json
"""

import json
import math

import torch

torch.manual_seed(5)
B, T, D, V = 3, 6, 4, 5
DOCUMENT_ROWS = [[7, 7, 7, 7, 7, 7], [7, 7, 7, 2, 2, 2], [2, 2, 4, 4, -1, -1]]
# Piece of each token in its window, and its place in the sequence of its document.
PIECES = [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]]
POSITIONS = [[0, 1, 2, 3, 4, 5], [5, 6, 7, 0, 1, 2], [2, 3, 0, 1, 0, 0]]
MASK = [[1] * 6, [1] * 6, [1, 1, 1, 1, 0, 0]]


def rounded(tensor):
    return torch.round(tensor, decimals=3)


hidden, states, matrix = (rounded(torch.randn(shape)).double() for shape in ([B, T, D], [B, T, D], [V, D]))
ids = torch.randint(0, V, [B, T])
places = [
    (b, t)
    for b in range(B)
    for t in range(T - 1)
    if MASK[b][t] and MASK[b][t + 1] and PIECES[b][t] == PIECES[b][t + 1]
]


def allowed(memory, local, i, j):
    (b, t), (c, u) = i, j
    same_piece = b == c and PIECES[b][t] == PIECES[c][u]
    if memory == "local":
        return same_piece and u < t
    if memory == "long":
        same_document = DOCUMENT_ROWS[b][t] == DOCUMENT_ROWS[c][u]
        return same_document and POSITIONS[c][u] < POSITIONS[b][t]
    if memory == "external":
        return not same_piece or (local and u < t)
    return False


def loss_of(memory, local, detached, f, g, e):
    total = 0
    for i in places:
        own = f[i] @ e.T
        found = [j for j in places if allowed(memory, local, i, j)]
        scores = {j: (g[i] @ (g[j].detach() if detached else g[j])) / math.sqrt(D) for j in found}
        target = ids[i[0], i[1] + 1]
        matching = [scores[j] for j in found if ids[j[0], j[1] + 1] == target]
        every = torch.stack([*own, *scores.values()])
        right = torch.stack([own[target], *matching])
        total = total - (torch.logsumexp(right, 0) - torch.logsumexp(every, 0))
    return total / len(places)


cases = []
for memory, local, detached in [
    ("none", True, False),
    ("local", True, False),
    ("local", True, True),
    ("long", True, False),
    ("external", True, False),
    ("external", False, False),
    ("external", True, True),
]:
    f, g, e = (x.clone().requires_grad_() for x in (hidden, states, matrix))
    loss = loss_of(memory, local, detached, f, g, e)
    loss.backward()
    zero = torch.zeros_like(g)
    cases.append(
        {
            "memory": memory,
            "local": local,
            "detached": detached,
            "loss": loss.item(),
            "hidden": [round(x, 7) for x in f.grad.flatten().tolist()],
            "states": [round(x, 7) for x in (g.grad if g.grad is not None else zero).flatten().tolist()],
            "matrix": [round(x, 7) for x in e.grad.flatten().tolist()],
        }
    )

print(
    json.dumps(
        {
            "shape": [B, T, D, V],
            "hidden": [round(x, 3) for x in hidden.flatten().tolist()],
            "states": [round(x, 3) for x in states.flatten().tolist()],
            "matrix": [round(x, 3) for x in matrix.flatten().tolist()],
            "ids": ids.flatten().tolist(),
            "mask": sum(MASK, []),
            "pieces": sum(PIECES, []),
            "rows": sum(DOCUMENT_ROWS, []),
            "positions": sum(POSITIONS, []),
            "cases": cases,
        }
    )
)
