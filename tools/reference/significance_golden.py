"""Writes golden values of scipy for src/eval/significance.test.ts.

    pip install scipy==1.17.1 numpy
    python tools/reference/significance_golden.py > src/eval/fixtures/significance-golden.json
"""

import json

import numpy as np
import scipy
from scipy import stats

SEED = 7


def mean_difference(x, y, axis=-1):
    return np.mean(x - y, axis=axis)


def case(name, x, y):
    x, y = np.round(x, 6), np.round(y, 6)
    t = stats.ttest_rel(x, y)
    n = len(x)
    exact = n <= 12
    permutation = stats.permutation_test(
        (x, y), mean_difference, permutation_type="samples", vectorized=True, batch=2000,
        n_resamples=2**12 if exact else 200_000, rng=np.random.default_rng(SEED),
    )
    bootstrap = stats.bootstrap(
        (x - y,), np.mean, n_resamples=200_000, method="percentile", batch=2000, rng=np.random.default_rng(SEED)
    ).confidence_interval
    return {
        "name": name, "x": x.tolist(), "y": y.tolist(), "t": t.statistic, "tPValue": t.pvalue,
        "exact": exact, "permutationPValue": permutation.pvalue, "interval": [bootstrap.low, bootstrap.high],
    }


def main():
    rng = np.random.default_rng(SEED)
    reciprocal = lambda n: 1 / rng.integers(1, 11, n) * (rng.random(n) < 0.8)
    cases = [
        case("two queries", np.array([0.5, 0.75]), np.array([0.25, 0.25])),
        case("five, mixed signs", rng.random(5), rng.random(5)),
        case("twelve, with ties in the differences", rng.integers(0, 4, 12) / 4, rng.integers(0, 3, 12) / 4),
        case("60 reciprocal ranks", reciprocal(60), reciprocal(60)),
        case("200, small shift", base := np.clip(rng.normal(0.5, 0.2, 200), 0, 1), np.clip(base - rng.normal(0.012, 0.08, 200), 0, 1)),
        case("300, no shift, many zeros", base := rng.random(300), np.where(rng.random(300) < 0.7, base, rng.random(300))),
    ]
    tails = [
        {"t": t, "df": df, "p": 2 * stats.t.sf(abs(t), df)}
        for df in [1, 2, 3, 10, 49, 322, 6979, 1_000_000]
        # scipy itself is off by 3e-9 at t = 1e-8: closed forms cover that end.
        for t in [0, 1e-3, 0.1, -0.7, 1, 1.96, 3, -8, 30]
    ]
    print(json.dumps({
        "madeBy": f"tools/reference/significance_golden.py, scipy {scipy.__version__}, seed {SEED}",
        "cases": cases, "tails": [tail for tail in tails if tail["p"] > 1e-290],
    }))


main()
