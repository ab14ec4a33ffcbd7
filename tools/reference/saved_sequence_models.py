"""Checks that transformers gives the log-probabilities and greedy outputs of encoder-decoders that Undrift has saved; see
saved-sequence-models.ts.

python tools/reference/saved_sequence_models.py FOLDER
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

folder = pathlib.Path(sys.argv[1])
for name, case in json.loads((folder / "cases.json").read_text()).items():
    model, report = AutoModelForSeq2SeqLM.from_pretrained(folder / name, output_loading_info=True)
    problems = {kind: found for kind, found in report.items() if found}
    assert not problems, problems
    tokenizer = AutoTokenizer.from_pretrained(folder / name)
    differences, written = [], []
    for text, target, expected in zip(case["inputs"], case["targets"], case["logProbabilities"]):
        inputs = tokenizer(text, return_tensors="pt")
        labels = tokenizer(target, return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(**inputs, labels=labels).logits
            ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0]
        scores = torch.log_softmax(logits[0], -1)[range(labels.shape[1]), labels[0]]
        differences.append((scores - torch.tensor(expected)).abs().max().item())
        written.append(tokenizer.decode(ids, skip_special_tokens=True))
    print(f"{name:10} {type(model).__name__} largest difference {max(differences):.1e}, {written[0]}")
    assert max(differences) < 1e-5 and written == case["written"], (written, case["written"])
