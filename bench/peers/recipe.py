"""Fine-tunes as the documentation of sentence-transformers recommends: mined hard negatives, MultipleNegativesRankingLoss.

    recipe.py FOLDER THREADS OPTIONS-JSON

FOLDER holds pairs.jsonl ({"query", "positive"}) and corpus.jsonl ({"text"}). The model is written to FOLDER/model.
"""

import json
import pathlib
import sys
import tempfile
import time

from measure import peak_resident_bytes, report

import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.training_args import BatchSamplers
from sentence_transformers.util import mine_hard_negatives

folder, threads, options = pathlib.Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)


def records(name):
    with open(folder / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


begin = time.perf_counter()
model = SentenceTransformer(options["model"], device="cpu")
model.max_seq_length = options["maxTokens"]
pairs = records("pairs.jsonl")
data = Dataset.from_dict({"anchor": [p["query"] for p in pairs], "positive": [p["positive"] for p in pairs]})
if options["negatives"] > 0:
    data = mine_hard_negatives(
        data,
        model,
        corpus=[record["text"] for record in records("corpus.jsonl")],
        range_min=options["rankFrom"],
        range_max=options["rankTo"],
        relative_margin=options["relativeMargin"],
        num_negatives=options["negatives"],
        sampling_strategy="random",
        batch_size=64,
        output_format="n-tuple",
        verbose=False,
    )
mined = time.perf_counter()
with tempfile.TemporaryDirectory() as out:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=out,
        per_device_train_batch_size=options["batchSize"],
        max_steps=options["steps"],
        learning_rate=options["lr"],
        warmup_ratio=0.1,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=options["seed"],
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        loss=MultipleNegativesRankingLoss(model, scale=1 / options["temperature"]),
    ).train()
model.save_pretrained(str(folder / "model"))
report(
    {
        "seconds": time.perf_counter() - begin,
        "miningSeconds": mined - begin,
        "rows": len(data),
        "peakResidentBytes": peak_resident_bytes(),
        "version": f"sentence-transformers {sentence_transformers.__version__}, PyTorch {torch.__version__}",
    }
)
