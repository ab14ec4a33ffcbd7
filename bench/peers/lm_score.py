"""Scores the tokens of windows with transformers.  lm_score.py FOLDER WINDOWS TOKENS THREADS REPEATS

A pass has 2,048 tokens, as on our side. Attention is PyTorch's scaled_dot_product_attention.
"""

import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import torch
import transformers
from lm_windows import window_ids
from torch.nn import functional as F

TOKENS_PER_PASS = 2048


def main():
    folder = sys.argv[1]
    windows, tokens, threads, repeats = map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    V = model.config.vocab_size
    ids = torch.tensor([window_ids(i, tokens, V) for i in range(windows)])
    times, sample = [], None
    rows = max(1, TOKENS_PER_PASS // tokens)
    with torch.inference_mode():
        for repeat in range(-1, repeats):
            start = time.perf_counter()
            found = []
            for part in ids.split(rows):
                logits = model(part, use_cache=False).logits[:, :-1]
                found.append(-F.cross_entropy(logits.reshape(-1, V), part[:, 1:].reshape(-1), reduction="none"))
            if repeat >= 0:
                times.append(1000 * (time.perf_counter() - start))
            sample = found[0][:32].tolist()
    report(
        {
            "timesMs": times,
            "peakResidentBytes": peak_resident_bytes(),
            "startResidentBytes": START_RESIDENT_BYTES,
            "sample": sample,
            "version": f"transformers {transformers.__version__}, PyTorch {torch.__version__}",
        }
    )


main()
