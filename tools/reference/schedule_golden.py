"""Golden learning-rate schedules: the factors of transformers' schedulers.

Usage: python schedule_golden.py FILE

The value of update number u, from 0, is the factor that transformers applies in it, with W warm-up steps and T updates.
"""

import json
import sys

import torch
import transformers

MAKERS = {
    "constant": lambda optimizer, warmup, total: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
    "linear": transformers.get_linear_schedule_with_warmup,
    "cosine": transformers.get_cosine_schedule_with_warmup,
}
CASES = [(0, 1), (0, 2), (0, 3), (0, 7), (1, 2), (1, 5), (3, 10), (4, 4), (5, 23)]


def factors(name: str, warmup: int, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = MAKERS[name](optimizer, warmup, total)
    found = []
    for _ in range(total):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


cases = [
    {"name": name, "warmupSteps": warmup, "totalSteps": total, "factors": factors(name, warmup, total)}
    for name in MAKERS
    for warmup, total in CASES
]
with open(sys.argv[1], "w") as file:
    lines = ",\n".join("    " + json.dumps(case) for case in cases)
    file.write('{\n  "transformers": "%s",\n  "cases": [\n%s\n  ]\n}\n' % (transformers.__version__, lines))
