"""Runs the reference training step of bench/training-step.ts in PyTorch eager.  step.py CASE THREADS STEPS [--fused] [--checkpoint]

BERT encoder (6 layers, hidden 384, 12 heads, ff 1536) over 32 texts with scaled_dot_product_attention, mean pooling, rows of
unit length, in-batch softmax cross-entropy of 16 queries and 16 documents, clipping, AdamW over all parameters including the
embedding table. --fused uses PyTorch's fused AdamW, which is not its default. --checkpoint computes the activations of each layer
again for the gradient (torch.utils.checkpoint).
"""

import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

LAYERS, HIDDEN, HEADS, INNER, VOCABULARY, POSITIONS = 6, 384, 12, 1536, 30_522, 512
QUERIES, TEXTS, DISTINCT_TOKENS, TEMPERATURE = 16, 32, 1500, 0.05
MOST_WARMUP_STEPS = 3  # as many steps as are timed, but not more
CHECKPOINT = "--checkpoint" in sys.argv


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.inner, self.outer = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)
        self.norm1, self.norm2 = nn.LayerNorm(HIDDEN, eps=1e-12), nn.LayerNorm(HIDDEN, eps=1e-12)

    def forward(self, h, bias):
        B, T, _ = h.shape
        heads = lambda x: x.view(B, T, HEADS, HIDDEN // HEADS).transpose(1, 2)
        q, k, v = heads(self.query(h)), heads(self.key(h)), heads(self.value(h))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        h = self.norm1(h + self.mix(attended.transpose(1, 2).reshape(B, T, HIDDEN)))
        return self.norm2(h + self.outer(F.gelu(self.inner(h))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions, self.types = nn.Embedding(POSITIONS, HIDDEN), nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, mask):
        T = ids.shape[1]
        h = self.norm(self.words(ids) + self.positions.weight[:T] + self.types.weight[0])
        bias = ((mask - 1) * 1e9)[:, None, None]
        for layer in self.layers:
            h = checkpoint(layer, h, bias, use_reentrant=False) if CHECKPOINT else layer(h, bias)
        pooled = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1e-9)
        return F.normalize(pooled, dim=1)


def main():
    case, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    tokens = int(case.removeprefix("t").removesuffix("-checkpointed"))
    model = Encoder()
    trained = list(model.named_parameters())
    no_decay = lambda name: name.endswith("bias") or "norm" in name
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in trained if not no_decay(n)], "weight_decay": 0.01},
            {"params": [p for n, p in trained if no_decay(n)], "weight_decay": 0.0},
        ],
        lr=1e-4,
        fused=True if "--fused" in sys.argv else None,
    )
    stride = VOCABULARY // DISTINCT_TOKENS
    drawn, times, loss = 0, [], None
    for step in range(-min(MOST_WARMUP_STEPS, steps), steps):
        start = time.perf_counter()
        count = TEXTS * tokens
        ids = (torch.arange(drawn, drawn + count) * 7919 % DISTINCT_TOKENS * stride).view(TEXTS, tokens)
        drawn += count
        vectors = model(ids, torch.ones(TEXTS, tokens))
        scores = vectors[:QUERIES] @ vectors[QUERIES:].T / TEMPERATURE
        loss = F.cross_entropy(scores, torch.arange(QUERIES))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimizer.step()
        if step >= 0:
            times.append(1000 * (time.perf_counter() - start))
    report(
        {
            "timesMs": times,
            "peakResidentBytes": peak_resident_bytes(),
            "startResidentBytes": START_RESIDENT_BYTES,
            "version": f"PyTorch {torch.__version__}",
        }
    )


main()
