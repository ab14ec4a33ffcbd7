"""Fine-tunes with the trainer of sentence-transformers on the same batches.  train.py FOLDER THREADS TRAINING-JSON [--fused]

MultipleNegativesRankingLoss, AdamW, clipping, a constant rate. --fused uses PyTorch's fused AdamW.
"""

import json
import pathlib
import sys
import tempfile
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import TrainerCallback

folder, threads, options = pathlib.Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)
batches = json.loads((folder / "batches.json").read_text())
queries, documents = zip(*[pair for batch in batches for pair in batch])


class InOrder(SentenceTransformerTrainer):
    def get_batch_sampler(self, dataset, batch_size, drop_last, **_):
        return BatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


class Steps(TrainerCallback):
    def __init__(self):
        self.ends, self.peak = [], 0

    def on_step_end(self, args, state, control, **_):
        self.ends.append(time.perf_counter())
        self.peak = peak_resident_bytes()


class Recorded(MultipleNegativesRankingLoss):
    """Loss that records its unrounded value for every batch."""

    losses = []

    def forward(self, *args, **kwargs):
        loss = super().forward(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


model = SentenceTransformer(str(folder / "model"), device="cpu")
steps = Steps()
with tempfile.TemporaryDirectory() as out:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=out,
        per_device_train_batch_size=options["batchSize"],
        max_steps=len(batches),
        learning_rate=options["lr"],
        weight_decay=options["weightDecay"],
        max_grad_norm=options["maxGradNorm"],
        lr_scheduler_type="constant",
        optim="adamw_torch_fused" if "--fused" in sys.argv else "adamw_torch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"anchor": queries, "positive": documents}),
        loss=Recorded(model, scale=1 / options["temperature"]),
        callbacks=[steps],
    )
    trainer.train()
report(
    {
        "timesMs": [1000 * (b - a) for a, b in zip(steps.ends, steps.ends[1:])],
        "peakResidentBytes": steps.peak,
        "startResidentBytes": START_RESIDENT_BYTES,
        "version": f"sentence-transformers {sentence_transformers.__version__}, PyTorch {torch.__version__}",
        "losses": Recorded.losses,
    }
)
