"""Checks that transformers gives the logits and greedy continuations of language models that Undrift has saved; see saved-language-models.ts.

python tools/reference/saved_language_models.py FOLDER
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = pathlib.Path(sys.argv[1])
for name, case in json.loads((folder / "cases.json").read_text()).items():
    model, report = AutoModelForCausalLM.from_pretrained(folder / name, output_loading_info=True)
    problems = {kind: found for kind, found in report.items() if found}
    assert not problems, problems
    tokenizer = AutoTokenizer.from_pretrained(folder / name)
    inputs = tokenizer(case["start"], return_tensors="pt")
    with torch.no_grad():
        difference = (model(**inputs).logits[0, -1] - torch.tensor(case["logits"])).abs().max().item()
        written = tokenizer.decode(model.generate(**inputs, max_new_tokens=12, do_sample=False)[0], skip_special_tokens=True)
    print(f"{name:14} {type(model).__name__:18} largest difference {difference:.1e}, {written}")
    assert difference < 1e-5 and written == case["written"], (written, case["written"])
