"""Checks that sentence-transformers gives the scores of cross-encoders that Undrift has saved; see saved-cross-encoders.ts.

python tools/reference/saved_cross_encoders.py FOLDER
"""

import json
import pathlib
import sys

import numpy
from sentence_transformers import CrossEncoder

folder = pathlib.Path(sys.argv[1])
stored = json.loads((folder / "scores.json").read_text())
for name, scores in stored["scores"].items():
    model = CrossEncoder(str(folder / name))
    difference = numpy.abs(model.predict(stored["pairs"]) - numpy.array(scores)).max()
    print(f"{name:12} largest difference {difference:.1e}, {model.max_seq_length} tokens, {model.activation_fn}")
    assert difference < 1e-5
