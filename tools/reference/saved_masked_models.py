"""Checks that transformers gives the log-probabilities of masked language models that Undrift has saved; see saved-masked-models.ts.

python tools/reference/saved_masked_models.py FOLDER
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

folder = pathlib.Path(sys.argv[1])
for name, case in json.loads((folder / "cases.json").read_text()).items():
    model, report = AutoModelForMaskedLM.from_pretrained(folder / name, output_loading_info=True)
    # Where the matrix of the logits is one of its own, the bias outside it is not read.
    problems = {kind: found for kind, found in report.items() if found and set(found) != {"lm_head.bias"}}
    assert not problems, problems
    tokenizer = AutoTokenizer.from_pretrained(folder / name)
    text = f"the cat sat on the {tokenizer.mask_token * len(case['answer'])} ."
    inputs = tokenizer(text, "a red house", return_tensors="pt")
    assert inputs.input_ids[0].tolist() == case["ids"], (inputs.input_ids, case["ids"])
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    scores = torch.log_softmax(logits, -1)[case["places"], case["answer"]]
    difference = (scores - torch.tensor(case["logProbabilities"])).abs().max().item()
    print(f"{name:12} {type(model).__name__} largest difference {difference:.1e}")
    assert difference < 1e-5
