"""A tiny BERT dual encoder trained for three steps by PyTorch, for test/parity/encoder.test.ts.

Run from the repository root:  python tools/reference/encoder_golden.py     (needs: torch, transformers, safetensors)

transformers' BertModel (eager attention, no pooler, dropout 0), mean pooling, rows of length one, softmax cross-entropy over
the batch's documents with a temperature; AdamW with decoupled decay and clipping of the global norm. PyTorch computes in
float64, so every difference the test finds is ours; what is stored is float32.

Word rows: our table updates only the rows that a batch touches, PyTorch decays all of them. So every batch has each of the
tokens 1…39 and padding 0, whose rows must agree, and none has 40…49, whose rows must not have moved on our side.

encoder.safetensors   weight/<name>, gradient/<name> (first step, before clipping), trained/<name> (after three steps)
encoder.json          settings; for each step the padded token ids, the lengths, the loss and the gradients' global norm
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize
from transformers import BertConfig, BertModel

OUT = pathlib.Path("test/parity/fixtures")
TEMPERATURE, LEARNING_RATE, WEIGHT_DECAY, MAX_NORM = 0.1, 1e-3, 0.01, 1.0
USED_TOKENS = 40  # of a vocabulary of 50
CONFIG = dict(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
    type_vocab_size=2,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
)
LENGTHS = {"query": [3, 5, 1, 4], "document": [10, 7, 12, 9]}

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
model = BertModel(
    BertConfig(
        **CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    ),
    add_pooling_layer=False,
)
model.train()
with torch.no_grad():
    # Larger than BERT's 0.02, so that attention is far from uniform and every gradient is far from zero. Rounded to float32,
    # because that is what both sides start from.
    for name, p in model.named_parameters():
        p.normal_(1.0 if "LayerNorm.weight" in name else 0.0, 0.2 if p.ndim == 1 else 0.3)
        p.copy_(p.float().double())
names = dict(model.named_parameters())
copy = lambda prefix, values: {f"{prefix}/{n}": v.detach().float().clone() for n, v in values.items()}
tensors = copy("weight", names)


def batch():
    """Padded ids of both sides, in which every one of the tokens 1…39 stands at least once."""
    total = sum(sum(lengths) for lengths in LENGTHS.values())
    rest = torch.randint(1, USED_TOKENS, (total - (USED_TOKENS - 1),))
    pool = torch.cat([torch.arange(1, USED_TOKENS), rest])[torch.randperm(total)].tolist()
    sides = {}
    for side, lengths in LENGTHS.items():
        texts = [[pool.pop() for _ in range(n)] for n in lengths]
        sides[side] = [text + [0] * (max(lengths) - len(text)) for text in texts]
    assert not pool
    return sides


def embed(ids, lengths):
    ids = torch.tensor(ids)
    mask = (torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]).double()
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return normalize((hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True), dim=1)


no_decay = lambda name: name.endswith(".bias") or "LayerNorm" in name
optimizer = torch.optim.AdamW(
    [
        {"params": [p for n, p in names.items() if not no_decay(n)], "weight_decay": WEIGHT_DECAY},
        {"params": [p for n, p in names.items() if no_decay(n)], "weight_decay": 0.0},
    ],
    lr=LEARNING_RATE,
)
steps = []
for number in range(3):
    sides = batch()
    queries, documents = (embed(sides[side], LENGTHS[side]) for side in ("query", "document"))
    loss = cross_entropy(queries @ documents.T / TEMPERATURE, torch.arange(len(queries)))
    optimizer.zero_grad()
    loss.backward()
    if number == 0:
        tensors |= copy("gradient", {n: p.grad for n, p in names.items()})
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
    optimizer.step()
    steps.append({**sides, "loss": loss.item(), "gradientNorm": norm.item()})
tensors |= copy("trained", names)

OUT.mkdir(parents=True, exist_ok=True)
save_file(tensors, OUT / "encoder.safetensors")
settings = dict(
    config={"model_type": "bert", **CONFIG},
    temperature=TEMPERATURE,
    learningRate=LEARNING_RATE,
    weightDecay=WEIGHT_DECAY,
    maxGradientNorm=MAX_NORM,
    usedTokens=USED_TOKENS,
    lengths=LENGTHS,
    steps=steps,
)
(OUT / "encoder.json").write_text(json.dumps(settings) + "\n")
print([(s["loss"], s["gradientNorm"]) for s in steps])
for n, p in names.items():
    g = tensors[f"gradient/{n}"]
    print(f"{n:60s} {g.norm():.3e} {(g.abs() < 1e-6).float().mean():.2f}")
