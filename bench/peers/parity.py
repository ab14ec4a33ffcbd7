"""Embeds texts with a model folder of Undrift in Python.  parity.py FOLDER INPUT.json

INPUT.json     {"query": [texts], "document": [texts], "card": the model card's file, "towers": "shared" or "separate"}

Embeds the texts with sentence-transformers, by prompt name or by tower, and the document texts with onnxruntime on the
exported files. Then runs every Python snippet of the model card unchanged. Prints the vectors.
"""

import json
import pathlib
import re
import sys

import numpy as np
import onnxruntime
import sentence_transformers
import tokenizers
import torch
import transformers


def snippets(card: pathlib.Path, folder: str) -> dict[str, dict]:
    """Runs each Python snippet of a card. Returns the names that it defines, by the package that it shows."""
    found = {}
    for code in re.findall(r"^```python\n(.*?)^```$", card.read_text(), re.M | re.S):
        names: dict = {}
        exec(code.replace("path/to/model", folder), names)  # our own card
        found["onnxruntime" if "InferenceSession" in code else "sentence-transformers"] = names
    return found


def main() -> None:
    folder = sys.argv[1]
    given = json.loads(pathlib.Path(sys.argv[2]).read_text())
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    vectors = {}
    for side in ("query", "document"):
        if given["towers"] == "separate":
            made = getattr(model, f"encode_{side}")(given[side])
        else:
            made = model.encode(given[side], prompt_name=side)
        vectors[f"sentence-transformers, {side}"] = made
    shown = snippets(pathlib.Path(given["card"]), folder)
    st = shown["sentence-transformers"]
    for side, name in (("query", "queries"), ("document", "documents")):
        vectors[f"card: sentence-transformers, {side}"] = st[name]
    vectors["card: onnxruntime"] = shown["onnxruntime"]["vectors"]
    result = {
        "vectors": {name: np.asarray(made, dtype=np.float32).tolist() for name, made in vectors.items()},
        "versions": {
            library.__name__: library.__version__
            for library in (sentence_transformers, transformers, tokenizers, torch, onnxruntime)
        },
    }
    print("bench-result " + json.dumps(result))


main()
