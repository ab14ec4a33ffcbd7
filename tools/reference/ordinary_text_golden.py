"""Writes golden ids of texts in which special tokens are ordinary characters, by Hugging Face's `tokenizers`.

    python tools/reference/ordinary_text_golden.py     # pip install tokenizers (0.23.3 made the committed file)

Reads src/text/fixtures/families.json.gz (tokenizer_families.py) and writes src/text/fixtures/ordinary-text.json: for each tokenizer, six
hexadecimal digits of SHA-256 over the ids of each text that holds a special token, with `encode_special_tokens = True`, which is
`split_special_tokens=True` of transformers. No special tokens are added around the texts.
"""

import gzip
import hashlib
import json
import struct
from pathlib import Path

from tokenizers import Tokenizer

FIXTURES = Path(__file__).resolve().parents[2] / "src" / "text" / "fixtures"
golden = json.loads(gzip.open(FIXTURES / "families.json.gz").read())
tokenizers = dict(golden["tokenizers"])
for name, variant in golden["variants"].items():
    tokenizers[name] = {**tokenizers[variant["of"]], **variant["parts"]}

ADDED = ["say [MASK]<mask> twice", "<s></s><s>", "a <|endoftext|>b", "x[SEP] [CLS]y", "İ[MASK]İ <unk>", " </s> ", "q <|begin_of_text|>r", "<|end_of_text|><|begin_of_text|>", " <|begin_of_text|> s", "t<|end_of_text|>\n"]


def hashes(json_):
    tokenizer = Tokenizer.from_str(json.dumps(json_))
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    tokenizer.encode_special_tokens = True
    rows = {}
    for i, text in enumerate([*golden["texts"], *ADDED]):
        if any(token in text for token in specials):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            rows[i] = hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:6]
    return rows


result = {"added": ADDED, "hashes": {name: hashes(json_) for name, json_ in tokenizers.items()}}
(FIXTURES / "ordinary-text.json").write_text(json.dumps(result, ensure_ascii=False) + "\n")
print({name: len(rows) for name, rows in result["hashes"].items()})
