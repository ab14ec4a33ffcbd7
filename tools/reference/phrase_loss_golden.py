"""Golden values of the loss of the nonparametric masked language model (NPM).

Computes the loss with loops over spans and tokens, straight from the definition, and its gradients by autograd, in double precision:
the tokens of other sequences are candidates, and those where the phrase of a span begins or ends are right.

Usage: python tools/reference/phrase_loss_golden.py
"""

import json
import math
import pathlib

import torch

torch.manual_seed(5)
D = 4
# The word 9 occurs in one sequence only; the phrase 1 2 occurs twice in the second sequence.
sequences = [[1, 2, 3, 4], [5, 1, 2, 1, 2], [3, 9, 1, 2]]
# Sequence, first token and length of each masked span.
spans = [(0, 0, 2), (0, 2, 1), (1, 1, 2), (2, 1, 1), (2, 0, 1)]
tokens = [(s, i) for s, sequence in enumerate(sequences) for i in range(len(sequence))]
K, S = len(tokens), len(spans)
keys, starts, ends = (torch.randn(n, D, dtype=torch.float64) for n in (K, S, S))


def occurrences(span):
    s, first, length = span
    phrase = sequences[s][first : first + length]
    return [
        (t, i)
        for t, sequence in enumerate(sequences)
        for i in range(len(sequence) - length + 1)
        if t != s and sequence[i : i + length] == phrase
    ]


def loss_of(starts, ends, keys):
    losses = []
    for v, span in enumerate(spans):
        found = occurrences(span)
        if not found:
            continue
        for queries, right in (
            (starts, set(found)),
            (ends, {(t, i + span[2] - 1) for t, i in found}),
        ):
            weights = [
                (torch.exp((queries[v] * keys[k]).sum() / math.sqrt(D)), token in right)
                for k, token in enumerate(tokens)
                if token[0] != span[0]
            ]
            losses.append(-torch.log(sum(w for w, is_right in weights if is_right) / sum(w for w, _ in weights)))
    return sum(losses) / (len(losses) / 2)


cases = []
for detached in (False, True):
    leaves = [x.clone().requires_grad_() for x in (starts, ends, keys)]
    loss = loss_of(leaves[0], leaves[1], leaves[2].detach() if detached else leaves[2])
    loss.backward()
    gradients = [(torch.zeros_like(x) if x.grad is None else x.grad).flatten().tolist() for x in leaves]
    cases.append(dict(detached=detached, loss=loss.item(), starts=gradients[0], ends=gradients[1], keys=gradients[2]))

out = pathlib.Path(__file__).parents[2] / "src/losses/fixtures/phrase-loss.json"
out.write_text(
    json.dumps(
        dict(
            sequences=sequences,
            spans=spans,
            starts=starts.flatten().tolist(),
            ends=ends.flatten().tolist(),
            keys=keys.flatten().tolist(),
            cases=cases,
        )
    )
    + "\n"
)
print(out, [case["loss"] for case in cases])
