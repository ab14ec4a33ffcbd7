"""Golden values of the likelihood of answers summed over candidates, as REALM and EMDR2 train it.

Computes losses and gradients by autograd in double precision, straight from the formulas:

    sequence: -log sum_k P_k prod_t p_kt,    token: -sum_t log sum_k P_k p_kt,    mean over the queries

Usage: python tools/reference/candidate_marginal_golden.py
"""

import json
import pathlib

import torch

torch.manual_seed(11)
B, K, J = 3, 4, 3
s = 2 * torch.randn(B, K, dtype=torch.float64)
l = -4 * torch.rand(B, K, J, dtype=torch.float64)
lengths = [3, 1, 2]
# The second query has fewer candidates.
allowed = torch.ones(B, K, dtype=torch.bool)
allowed[1, 2:] = False
for b, n in enumerate(lengths):
    l[b, :, n:] = 0
l[~allowed] = 0

cases = []
for marginal in ("sequence", "token"):
    scores, tokens = s.clone().requires_grad_(), l.clone().requires_grad_()
    losses, posteriors = [], []
    for b, n in enumerate(lengths):
        keep = allowed[b]
        p = torch.softmax(scores[b][keep], dim=0)
        probabilities = tokens[b][keep][:, :n].exp()
        if marginal == "sequence":
            losses.append(-(p * probabilities.prod(1)).sum().log())
        else:
            losses.append(-(p[:, None] * probabilities).sum(0).log().sum())
        joint = p * probabilities.prod(1)
        posterior = joint / joint.sum()
        posteriors.append((posterior * (posterior / p).log()).sum().item())
    loss = torch.stack(losses).mean()
    loss.backward()
    cases.append(
        dict(
            marginal=marginal,
            loss=loss.item(),
            divergence=sum(posteriors) / B,
            scores=scores.grad.tolist(),
            tokens=tokens.grad.tolist(),
        )
    )

out = pathlib.Path(__file__).parents[2] / "src/losses/fixtures/candidate-marginal.json"
out.write_text(
    json.dumps(dict(scores=s.tolist(), tokens=l.tolist(), lengths=lengths, allowed=allowed.tolist(), cases=cases))
)
print(out, [case["loss"] for case in cases])
