"""Writes golden ids for the files beside a `tokenizer.json`, by AutoTokenizer of Hugging Face's `transformers`.

    python tools/reference/tokenizer_settings.py    # needs `pip install transformers` (5.24 made the committed file)

Writes src/text/fixtures/settings.json.gz: texts, and 160 folders drawn at random. A folder has a tokenizer of families.json.gz, which may have lost
some of its added tokens, a model type, and tokenizer_config.json, special_tokens_map.json and added_tokens.json. The hashes are those of the ids of
all texts, whole and truncated to 7 tokens.
"""

import gzip
import hashlib
import json
import os
import random
import struct
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="critical")
from transformers import AutoTokenizer  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[2] / "src" / "text" / "fixtures"
FAMILIES = json.loads(gzip.decompress((FIXTURES / "families.json.gz").read_bytes()))["tokenizers"]

FRAGMENTS = [
    "the", "The", "café", "Über", "日本", "[user]", "<user>", "<e1>", "[MASK]", "<mask>", "[CLS]", "<s>", "</s>", "[UNK]", "<unk>", " ", "  ", ".", "x", "12",
    "<|endoftext|>", "[pad]", "ÄÖ", "e\u0301", "▁", "\n", "dense", "retriever", "zzz",
]
FAST = "PreTrainedTokenizerFast"
# Family, model type, classes of tokenizer_config.json; None for a file without a class.
MODELS = [
    ("bert uncased", "bert", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", FAST, None]),
    ("bert cased", "bert", ["BertTokenizer", "ElectraTokenizer", FAST, None]),
    ("bert cased", "distilbert", ["DistilBertTokenizer", None]),
    ("mpnet", "mpnet", ["MPNetTokenizer", FAST, None]),
    ("roberta", "roberta", ["RobertaTokenizer", "RobertaTokenizerFast", FAST, None]),
    ("gpt2", "gpt2", ["GPT2Tokenizer", FAST, None]),
    ("xlm-roberta", "xlm-roberta", ["XLMRobertaTokenizer", FAST, None]),
    ("xlm-roberta", "bert", ["XLMRobertaTokenizerFast", FAST]),
    ("qwen2", "qwen2", ["Qwen2Tokenizer", FAST]),
    ("qwen2", "qwen3", ["Qwen2Tokenizer", FAST, None]),
    ("llama2", "llama", ["LlamaTokenizer", "LlamaTokenizerFast", FAST]),
    ("llama3", "llama", ["LlamaTokenizer", FAST]),
    ("modernbert", "modernbert", ["BertTokenizer", FAST, None]),
]
NAMES = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token"]
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<|endoftext|>", "<|begin_of_text|>"]


def folder(rng):
    chance = lambda p=0.5: rng.random() < p
    family, model_type, classes = rng.choice(MODELS)
    cls = rng.choice(classes)
    file = FAMILIES[family]
    vocab = file["model"]["vocab"]
    ids = {piece: i for i, (piece, _) in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
    kept = [token for token in file["added_tokens"] if token["content"] in ids or not chance(0.3)]
    ids.update({token["content"]: token["id"] for token in kept})
    config = {"tokenizer_class": cls} if cls else {}
    for name, p in dict(do_lower_case=0.6, strip_accents=0.3, tokenize_chinese_chars=0.3, add_prefix_space=0.3, legacy=0.2, add_bos_token=0.3, add_eos_token=0.3).items():
        if chance(p):
            config[name] = chance()
    if chance():
        fresh = iter(range(max(ids.values()) + 1, 10**6))
        listed = {}
        for content in rng.sample(["[user]", "<user>", "the", "日本", "[MASK]", "<mask>", "<s>", "[CLS]", "dense", "<|endoftext|>"], rng.randint(1, 5)):
            flags = dict(lstrip=chance(0.2), normalized=chance(0.4), rstrip=chance(0.2), single_word=chance(0.2), special=chance())
            listed[str(ids[content] if content in ids else next(fresh))] = {"content": content, **flags}
        config["added_tokens_decoder"] = listed
    known = [content for content in SPECIAL if content in ids] or ["a"]
    for name in NAMES:
        if chance(0.25):
            config[name] = rng.choice([*known, "dense"] if name != "unk_token" else known)
    if chance(0.2):
        config[rng.choice(["additional_special_tokens", "extra_special_tokens"])] = rng.sample(["[user]", "<user>", "the"], 2)
    if chance(0.1):
        config["image_token"] = "<e1>"
    if chance(0.3):
        config["truncation_side"] = rng.choice(["left", "right"])
    files = {"tokenizer_config.json": config} if chance(0.93) else {}
    if chance(0.2):
        flags = lambda: dict(lstrip=chance(0.3), normalized=False, rstrip=False, single_word=False)
        files["special_tokens_map.json"] = {name: rng.choice([known[0], {"content": known[-1], **flags()}]) for name in rng.sample(NAMES, 2)}
    if chance(0.1):
        files["added_tokens.json"] = {"[user]": max(ids.values()) + 1}
    return family, model_type, kept, files


def main():
    rng = random.Random(5)
    texts = ["".join(rng.choice(FRAGMENTS) + rng.choice(["", " "]) for _ in range(rng.randint(2, 9))) for _ in range(40)]
    result = []
    while len(result) < 160:
        family, model_type, kept, files = folder(rng)
        with tempfile.TemporaryDirectory() as path:
            contents = {"tokenizer.json": {**FAMILIES[family], "added_tokens": kept}, "config.json": {"model_type": model_type}, **files}
            for name, content in contents.items():
                Path(path, name).write_text(json.dumps(content))
            try:
                tokenizer = AutoTokenizer.from_pretrained(path)
                ids = [tokenizer(text)["input_ids"] for text in texts] + [tokenizer(text, truncation=True, max_length=7)["input_ids"] for text in texts]
            except Exception:  # settings that Python refuses
                continue
        hashes = "".join(hashlib.sha256(struct.pack(f"<{len(each)}I", *each)).hexdigest()[:4] for each in ids)
        result.append({"family": family, "modelType": model_type, "kept": [token["content"] for token in kept], "files": files, "hashes": hashes})
    path = FIXTURES / "settings.json.gz"
    content = json.dumps({"texts": texts, "folders": result}, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
