"""Golden values of the divergence between a teacher's and a retriever's distribution over candidates, as REPLUG LSR trains it.

Computes loss and gradients by autograd in double precision, straight from the formulas:

    s = q·c / tau,  P = softmax(s),  Q = softmax(g / beta),  forward KL(Q‖P), reverse KL(P‖Q), mean over the queries

Usage: python tools/reference/teacher_divergence_golden.py
"""

import json
import pathlib

import torch

torch.manual_seed(7)
B, K, D = 3, 5, 4
TAU, BETA = 0.1, 0.25
q = torch.nn.functional.normalize(torch.randn(B, D, dtype=torch.float64), dim=-1)
c = torch.nn.functional.normalize(torch.randn(B, K, D, dtype=torch.float64), dim=-1)
g = -3 * torch.rand(B, K, dtype=torch.float64)
# The last query has fewer candidates.
allowed = torch.ones(B, K, dtype=torch.bool)
allowed[2, 3:] = False

cases = []
for direction in ("forward", "reverse"):
    for masked in (False, True):
        queries, candidates = q.clone().requires_grad_(), c.clone().requires_grad_()
        scores = torch.einsum("bd,bkd->bk", queries, candidates) / TAU
        scores.retain_grad()
        losses = []
        for b in range(B):
            keep = allowed[b] if masked else torch.ones(K, dtype=torch.bool)
            p = torch.softmax(scores[b][keep], dim=0)
            t = torch.softmax(g[b][keep] / BETA, dim=0)
            losses.append((t * (t / p).log()).sum() if direction == "forward" else (p * (p / t).log()).sum())
        loss = torch.stack(losses).mean()
        loss.backward()
        cases.append(
            dict(
                direction=direction,
                masked=masked,
                loss=loss.item(),
                scores=scores.grad.tolist(),
                queries=queries.grad.tolist(),
                candidates=candidates.grad.tolist(),
            )
        )

out = pathlib.Path(__file__).parents[2] / "src/losses/fixtures/teacher-divergence.json"
golden = dict(
    tau=TAU,
    beta=BETA,
    queries=q.tolist(),
    candidates=c.tolist(),
    teacher=g.tolist(),
    allowed=allowed.tolist(),
    cases=cases,
)
out.write_text(json.dumps(golden, indent=1) + "\n")
print(f"{out}: " + ", ".join(f"{case['direction']} {case['loss']:.6f}" for case in cases))
