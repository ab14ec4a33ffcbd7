"""Writes golden metric values of trec_eval 9 for src/eval/metrics.test.ts.

    pip install pytrec-eval-terrier==0.5.11 numpy
    python tools/reference/trec_eval_golden.py > src/eval/fixtures/trec-eval-golden.json

Makes a seeded synthetic set of judgements and a run, with all cases that re-implementations often get wrong: exact ties, ties only in float32,
queries without results, queries without judgements, queries without a relevant document, unjudged documents, graded and
negative relevance, fewer results than the cutoff, and ids outside ASCII whose UTF-8 byte order differs from UTF-16's.
"""

import json
import random
from importlib.metadata import version

import numpy as np
import pytrec_eval

SEED = 20
CUTOFFS = [1, 3, 10, 50]
# U+FF5E sorts after U+1F600 in UTF-16 units and before it in UTF-8 bytes.
SPELLINGS = ["doc-{}", "Doc-{}", "é{}", "文書{}", "\uff5e{}", "\U0001f600{}", "z{}", "\ue000{}"]


def make(rng):
    documents = [SPELLINGS[i % len(SPELLINGS)].format(i) for i in range(80)]
    qrels, run = {}, {}
    for q in range(44):
        qid = f"frage-ü{q}" if q % 5 == 0 else f"q{q}"
        grades = [0] if q % 11 == 3 else [-2, -1, 0] if q % 11 == 7 else [-1, 0, 0, 1, 1, 2, 3]
        qrels[qid] = {d: rng.choice(grades) for d in rng.sample(documents, rng.choice([1, 4, 20, 60]))}
        if max(qrels[qid].values()) < 0:
            # With no grade of at least 0, trec_eval 9 reads memory it has not set.
            qrels[qid][documents[q]] = 0
        if q % 9 == 4:
            continue  # judged, but without results
        scores = {}
        for d in rng.sample(documents, rng.choice([1, 7, 30, 75])):
            score = {
                0: lambda: float(rng.randint(0, 4)),  # many exact ties
                1: lambda: 1.0 + rng.randint(0, 3) * 2e-8,  # different doubles, equal floats
                2: lambda: rng.gauss(0, 1),
                3: lambda: rng.gauss(0, 1) * 10.0 ** rng.randint(-30, 30),
            }[q % 4]()
            scores[d] = score
        run[qid] = scores
    run["not-judged"] = {d: rng.random() for d in documents[:5]}
    return qrels, run


def top(scores, k):
    """Returns the first k documents in trec_eval's order."""
    order = sorted(scores, key=lambda d: (np.float32(scores[d]), d.encode()), reverse=True)
    return {d: scores[d] for d in order[:k]}


def measure(qrels, run, names):
    return pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)


def main():
    rng = random.Random(SEED)
    qrels, run = make(rng)
    cuts = ",".join(map(str, CUTOFFS))
    plain = measure(
        qrels, run, {"ndcg", "map", "recip_rank"} | {f"{m}.{cuts}" for m in ["ndcg_cut", "map_cut", "recall", "P", "success"]}
    )
    # ndcg_exp is trec_eval's ndcg_cut on grades replaced by their gains.
    gains = {q: {d: 2**g - 1 if g > 0 else g for d, g in judged.items()} for q, judged in qrels.items()}
    exponential = measure(gains, run, {f"ndcg_cut.{cuts}"})
    expected = {}
    for qid, values in plain.items():
        expected[qid] = {"ndcg": values["ndcg"], "map": values["map"], "mrr": values["recip_rank"]}
        for k in CUTOFFS:
            head = measure({qid: qrels[qid]}, {qid: top(run[qid], k)}, {"recip_rank", "num_ret", "num_rel_ret", "num_nonrel_judged_ret"})[qid]
            expected[qid] |= {
                f"ndcg@{k}": values[f"ndcg_cut_{k}"],
                f"ndcg_exp@{k}": exponential[qid][f"ndcg_cut_{k}"],
                f"mrr@{k}": head["recip_rank"],
                f"map@{k}": values[f"map_cut_{k}"],
                f"recall@{k}": values[f"recall_{k}"],
                f"precision@{k}": values[f"P_{k}"],
                f"success@{k}": values[f"success_{k}"],
                f"judged@{k}": (head["num_rel_ret"] + head["num_nonrel_judged_ret"]) / head["num_ret"],
            }
    names = list(next(iter(expected.values())))
    total = {n: sum(values[n] for values in expected.values()) for n in names}
    golden = {
        "madeBy": f"tools/reference/trec_eval_golden.py, pytrec-eval-terrier {version('pytrec-eval-terrier')}, seed {SEED}",
        "qrels": qrels,
        "run": {q: list(scores.items()) for q, scores in run.items()},
        "perQuery": expected,
        "meanSkip": {n: t / len(expected) for n, t in total.items()},
        "meanZero": {n: t / len(qrels) for n, t in total.items()},
    }
    print(json.dumps(golden, ensure_ascii=False, separators=(",", ":")))


main()
