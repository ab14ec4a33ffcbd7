"""Trains a T5 and a BERT as Atlas does (Fusion-in-Decoder, PDist).  atlas_step.py RETRIEVER READER BATCH.json THREADS STEPS LR

Every query reads all documents of the batch. Each document is embedded once and encoded once with each query; the scores of PDist come from
the same encoder states, without a gradient. Two clipped groups of parameters, AdamW.
"""

import json
import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

WARMUP_STEPS = 2
TEMPERATURE = 0.05
TEACHER_TEMPERATURE = 0.1


def padded(rows, filler):
    width = max(map(len, rows))
    ids = torch.tensor([row + [filler] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def embed(model, ids, mask):
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def groups(model):
    named = list(model.named_parameters())
    return [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for _, p in named if p.ndim == 1], "weight_decay": 0.0},
    ]


def main():
    retriever_folder, reader_folder, batch_file = sys.argv[1:4]
    threads, steps, rate = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    retriever = transformers.AutoModel.from_pretrained(retriever_folder, dtype=torch.float32, add_pooling_layer=False).eval()
    reader = transformers.T5ForConditionalGeneration.from_pretrained(reader_folder, dtype=torch.float32).eval()
    batch = json.load(open(batch_file))
    queries, documents = len(batch["queries"]), len(batch["documents"])
    query_ids = padded(batch["queries"], 0)
    document_ids = padded(batch["documents"], 0)
    inputs, mask = padded([row for rows in batch["inputs"] for row in rows], 0)
    labels = padded(batch["targets"], -100)[0]
    alone_labels = labels.repeat_interleave(documents, 0)
    optimizer = torch.optim.AdamW(groups(retriever) + groups(reader), lr=rate)
    width = reader.config.d_model
    times, losses = [], []
    for step in range(WARMUP_STEPS + steps):
        start = time.perf_counter()
        with torch.no_grad():
            # The search, as in training.
            embed(retriever, *query_ids)
        states = reader.encoder(input_ids=inputs, attention_mask=mask).last_hidden_state
        fused = BaseModelOutput(states.reshape(queries, -1, width))
        reader_loss = reader(encoder_outputs=fused, attention_mask=mask.reshape(queries, -1), labels=labels).loss
        with torch.no_grad():
            logits = reader(encoder_outputs=BaseModelOutput(states), attention_mask=mask, labels=alone_labels).logits
            scored = alone_labels != -100
            log_p = logits.log_softmax(-1).gather(-1, alone_labels.clamp(min=0)[..., None])[..., 0] * scored
            g = (log_p.sum(1) / scored.sum(1)).reshape(queries, documents)
            teacher = torch.softmax(g / TEACHER_TEMPERATURE, -1)
        scores = embed(retriever, *query_ids) @ embed(retriever, *document_ids).T / TEMPERATURE
        retriever_loss = (teacher * (torch.log(teacher) - scores.log_softmax(-1))).sum(1).mean()
        losses.append(reader_loss.item())
        optimizer.zero_grad(set_to_none=True)
        (reader_loss + retriever_loss).backward()
        for model in (retriever, reader):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
