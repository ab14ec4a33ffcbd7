"""Checks that transformers and sentence-transformers read folders written by Undrift and compute the same values.

    npx tsx tools/reference/saved-architectures.ts FOLDER && python tools/reference/saved_architectures.py FOLDER

(needs: torch, transformers, sentence-transformers, safetensors). For each of the tiny models of src/models/architectures/fixtures:
AutoModel finds every weight except that of a pooler, which Undrift does not have, and uses each. Its last hidden states equal
those of the original model. SentenceTransformer computes the same embeddings of texts.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, T5EncoderModel, logging

logging.set_verbosity_error()
logging.disable_progress_bar()
FIXTURES = pathlib.Path("src/models/architectures/fixtures")
SAVED = pathlib.Path(sys.argv[1])
documents = json.loads((FIXTURES / "batches.json").read_text())["steps"][0]["document"]
longest = max(map(len, documents))

for folder in sorted(SAVED.iterdir()):
    golden = json.loads((FIXTURES / folder.name / "golden.json").read_text())
    tensors = load_file(FIXTURES / folder.name / "golden.safetensors")
    loader = T5EncoderModel if folder.name == "t5" else AutoModel  # AutoModel would add a decoder
    model, info = loader.from_pretrained(folder, output_loading_info=True)
    assert all("pooler" in name for name in info["missing_keys"]) and not info["unexpected_keys"], info
    assert not info["mismatched_keys"], info
    ids = torch.tensor([row + [golden["padId"]] * (longest - len(row)) for row in documents])
    mask = torch.tensor([[int(i < len(row)) for i in range(longest)] for row in documents])
    types = {"token_type_ids": (torch.arange(longest) // 4 % 2).expand_as(ids)} if golden["types"] else {}
    with torch.no_grad():
        hidden = model.eval()(input_ids=ids, attention_mask=mask, **types).last_hidden_state.numpy()
    last = max((name for name in tensors if name.startswith("state/")), key=lambda name: int(name[6:]))
    difference = np.abs(hidden - tensors[last])[mask.bool().numpy()].max()
    line = f"{folder.name:15s} last hidden states {difference:.1e}"
    assert difference < 1e-5
    if "texts" in golden:
        vectors = SentenceTransformer(str(folder), device="cpu").encode(golden["texts"])
        difference = np.abs(vectors - tensors["texts"]).max()
        line += f"   embeddings of texts {difference:.1e}"
        assert difference < 1e-5
    print(line)
