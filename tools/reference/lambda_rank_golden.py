"""Golden values of the ranking loss of RPT (LambdaRank weights on a hinge).

Computes the loss with loops over pairs of candidates, straight from the definition, and its gradient by autograd, in double precision.

Usage: python tools/reference/lambda_rank_golden.py
"""

import json
import math
import pathlib

import torch

torch.manual_seed(7)
Q, N = 5, 7
scores = torch.randn(Q, N, dtype=torch.float64)
# Equal scores, of which the first column has the better rank.
scores[1, 2] = scores[1, 5]
grades = [
    [0, 2.5, 0, 0.25, 0, 1.0, 0],
    [3.0, 0, 1.5, 0, 0, 1.5, 4.0],
    [0, 0, 0, 0, 0, 0, 0],
    [0, 0, 40.0, 0, 0.5, 0, 0],
    [5.0, 0, 0, 0, 0, 0, 0],
]
# The best candidate of the second query is not allowed, and the last query has a positive alone.
allowed = [
    [1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 1, 1],
    [1, 0, 1, 1, 1, 0, 0],
    [1, 0, 0, 0, 0, 0, 0],
]


def loss_of(scores, margin):
    total, pairs = 0, 0
    for q in range(Q):
        columns = [j for j in range(N) if allowed[q][j]]
        order = sorted(columns, key=lambda j: (-scores[q, j].item(), j))
        rank = {j: 1 + place for place, j in enumerate(order)}
        best = sorted((grades[q][j] for j in columns), reverse=True)
        ideal = sum((2**t - 1) / math.log2(2 + place) for place, t in enumerate(best))
        for l in columns:
            for j in columns:
                if not (grades[q][l] > 0 and grades[q][l] > grades[q][j]):
                    continue
                gain = abs(2 ** grades[q][l] - 2 ** grades[q][j])
                discount = abs(1 / math.log2(1 + rank[l]) - 1 / math.log2(1 + rank[j]))
                total = total + gain * discount / ideal * torch.relu(margin - (scores[q, l] - scores[q, j]))
                pairs += 1
    return total / pairs


cases = []
for margin in (0.5, 1.0, 3.0):
    leaf = scores.clone().requires_grad_()
    loss = loss_of(leaf, margin)
    loss.backward()
    cases.append({"margin": margin, "loss": loss.item(), "scores": leaf.grad.flatten().tolist()})

content = {
    "shape": [Q, N],
    "scores": scores.flatten().tolist(),
    "grades": [x for row in grades for x in row],
    "allowed": [x for row in allowed for x in row],
    "cases": cases,
}
target = pathlib.Path(__file__).parents[2] / "src/losses/fixtures/lambda-rank.json"
target.write_text(json.dumps(content) + "\n")
