"""Generates greedily with transformers.  lm_generate.py FOLDER PROMPT_TOKENS NEW_TOKENS THREADS REPEATS"""

import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import torch
import transformers
from lm_windows import window_ids


def main():
    folder = sys.argv[1]
    prompt_tokens, tokens, threads, repeats = map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    prompt = torch.tensor([window_ids(0, prompt_tokens, model.config.vocab_size)])
    times, sample = [], None
    with torch.inference_mode():
        for repeat in range(-1, repeats):
            start = time.perf_counter()
            written = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
            )
            if repeat >= 0:
                times.append(1000 * (time.perf_counter() - start))
            sample = written[0, prompt_tokens:].tolist()
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
