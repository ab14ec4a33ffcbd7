"""Writes golden values of sentence-transformers' mine_hard_negatives for src/mining/mine-negatives.test.ts.

    pip install sentence-transformers==6.2.0 datasets
    python tools/reference/mine_golden.py > src/mining/fixtures/mine-golden.json

Queries and documents have given vectors, so that only the use of their scores is compared. Query i has 1 + i mod 3 positives.
"""

import contextlib
import json
import sys

import numpy as np
import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers.util import dot_score, mine_hard_negatives, pairwise_dot_score

QUERIES, DOCUMENTS, DIMENSION, WANTED = 12, 40, 8, 4
rng = np.random.default_rng(3)


def unit_rows(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


documents = unit_rows(rng.normal(size=(DOCUMENTS, DIMENSION)))
positives = [sorted(rng.choice(DOCUMENTS, size=1 + i % 3, replace=False).tolist()) for i in range(QUERIES)]
# Approximately near its positives.
queries = unit_rows(
    np.stack([documents[p].sum(axis=0) + 0.5 * rng.normal(size=DIMENSION) for p in positives])
)


class GivenVectors:
    """Model with the interface that mine_hard_negatives needs."""

    device = torch.device("cpu")
    similarity = staticmethod(lambda a, b: dot_score(torch.as_tensor(a), torch.as_tensor(b)))
    similarity_pairwise = staticmethod(lambda a, b: pairwise_dot_score(torch.as_tensor(a), torch.as_tensor(b)))

    def encode_document(self, texts, **_):
        return np.stack([documents[int(text[1:])] for text in texts])

    def encode_query(self, texts, **_):
        return np.stack([queries[int(text[1:])] for text in texts])


pairs = [(f"q{i}", f"d{row}") for i, rows in enumerate(positives) for row in rows]
dataset = Dataset.from_dict({"query": [q for q, _ in pairs], "positive": [p for _, p in pairs]})

CASES = [
    {"rankFrom": 0, "rankTo": DOCUMENTS},
    {"rankFrom": 3, "rankTo": 12},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "absoluteMargin": 0},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "absoluteMargin": 0.2},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "relativeMargin": 0.05},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "relativeMargin": 0.5},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "maxScore": 0.3, "minScore": 0.0},
    {"rankFrom": 0, "rankTo": DOCUMENTS, "absoluteMargin": 0.1, "relativeMargin": 0.3, "maxScore": 0.4, "minScore": -0.2},
]
NAMES = {
    "rankFrom": "range_min",
    "rankTo": "range_max",
    "absoluteMargin": "absolute_margin",
    "relativeMargin": "relative_margin",
    "maxScore": "max_score",
    "minScore": "min_score",
}


def mined(case):
    with contextlib.redirect_stdout(sys.stderr):
        result = mine_hard_negatives(
            dataset, GivenVectors(), corpus=[f"d{i}" for i in range(DOCUMENTS)], num_negatives=WANTED,
            output_format="triplet", verbose=False, **{NAMES[name]: value for name, value in case.items()},
        )
    lists = [[] for _ in range(QUERIES)]
    for query, positive, negative in zip(result["query"], result["positive"], result["negative"]):
        i = int(query[1:])
        # Once for each positive: the first will do.
        if int(positive[1:]) == positives[i][0]:
            lists[i].append(int(negative[1:]))
    return lists


def numbers(x):
    return [float(f"{value:.9g}") for value in x.ravel()]


print(json.dumps({
    "made": f"sentence-transformers {sentence_transformers.__version__}",
    "dimension": DIMENSION,
    "wanted": WANTED,
    "documents": numbers(documents),
    "queries": numbers(queries),
    "positives": positives,
    "cases": [{"rules": case, "negatives": mined(case)} for case in CASES],
}))
