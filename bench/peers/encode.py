"""Encodes texts with sentence-transformers.  encode.py FOLDER THREADS REPEATS"""

import json
import pathlib
import sys
import time

from measure import START_RESIDENT_BYTES, peak_resident_bytes, report

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

WARMUP_TEXTS = 32
SAMPLE_TEXTS = 200  # number of texts whose embeddings are reported for comparison

folder, threads, repeats = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
texts = json.loads((folder / "texts.json").read_text())
model = SentenceTransformer(str(folder / "model"), device="cpu")
model.encode(texts[:WARMUP_TEXTS])
times = []
for _ in range(repeats):
    start = time.perf_counter()
    vectors = model.encode(texts)  # sorts by length, 32 texts at a time
    times.append(1000 * (time.perf_counter() - start))
report(
    {
        "timesMs": times,
        "peakResidentBytes": peak_resident_bytes(),
        "startResidentBytes": START_RESIDENT_BYTES,
        "version": f"sentence-transformers {sentence_transformers.__version__}, PyTorch {torch.__version__}",
        "sample": vectors[:SAMPLE_TEXTS].flatten().tolist(),
    }
)
