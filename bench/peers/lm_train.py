"""Trains a language model of transformers on windows.  lm_train.py FOLDER WINDOWS TOKENS THREADS STEPS LORA [--fused]

Next-token loss of the model, clipping, AdamW. With LORA > 0, the weights are frozen, and queries and values get adapters of this rank,
computed as in peft: W x + B (A x) alpha / r. --fused uses PyTorch's fused AdamW, which is not its default.
"""

import math
import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import torch
import transformers
from lm_windows import window_ids
from torch import nn

WARMUP_STEPS = 2


class Adapted(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base, self.scale = base, 2.0
        self.a = nn.Parameter(torch.empty(rank, base.in_features).uniform_(-1, 1) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, self.a), self.b) * self.scale


def main():
    folder = sys.argv[1]
    windows, tokens, threads, steps, lora = map(int, sys.argv[2:7])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").train()
    if lora > 0:
        model.requires_grad_(False)
        for layer in model.model.layers:
            for name in ("q_proj", "v_proj"):
                setattr(layer.self_attn, name, Adapted(getattr(layer.self_attn, name), lora))
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in trained if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for n, p in trained if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=1e-4,
        fused=True if "--fused" in sys.argv else None,
    )
    V = model.config.vocab_size
    times, losses = [], []
    for step in range(WARMUP_STEPS + steps):
        start = time.perf_counter()
        ids = torch.tensor([window_ids(step * windows + i, tokens, V) for i in range(windows)])
        loss = model(ids, labels=ids, use_cache=False).loss
        losses.append(loss.item())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimizer.step()
        if step >= WARMUP_STEPS:
            times.append(1000 * (time.perf_counter() - start))
    report(
        {
            "timesMs": times,
            "peakResidentBytes": peak_resident_bytes(),
            "startResidentBytes": START_RESIDENT_BYTES,
            "losses": losses,
            "version": f"transformers {transformers.__version__}, PyTorch {torch.__version__}",
        }
    )


main()
