"""Writes golden ids of Hugging Face's `tokenizers` for a tokenizer of each family, on 1,000 texts.

    python tools/reference/tokenizer_families.py [FOLDER]   # pip install tokenizers sentencepiece (0.23.3 and 0.2.3 made the committed file)

Writes src/text/fixtures/families.json.gz:

    texts       1,000 texts: prose, code, numbers, URLs, every script, emoji, control characters, very long, empty
    tokenizers  small tokenizer.json by family, with the components of a well-known model of the family
    variants    tokenizers by name: one of the families with other parts
    hashes      for each text, the first six hexadecimal digits of SHA-256 over its ids as little-endian u32; by family and variant
    real        hashes of real tokenizers, if FOLDER has any: FOLDER/NAME/tokenizer.json, or vocab.json and merges.txt

The vocabularies are trained on the texts themselves, so that they have pieces of all scripts.
"""

import gzip
import hashlib
import io
import json
import random
import struct
import sys
import tempfile
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FIXTURES = Path(__file__).resolve().parents[2] / "src" / "text" / "fixtures"

SCRIPTS = {
    "latin": [(0x61, 0x7A)] * 4 + [(0xC0, 0x17F)],
    "greek": [(0x391, 0x3C9)],
    "cyrillic": [(0x410, 0x44F)],
    "hebrew": [(0x5D0, 0x5EA), (0x5B0, 0x5BC)],
    "arabic": [(0x621, 0x64A), (0x64B, 0x652)],
    "devanagari": [(0x905, 0x939), (0x93C, 0x94D)],
    "thai": [(0xE01, 0xE30), (0xE31, 0xE4E)],
    "han": [(0x4E00, 0x4EFF)],
    "rare han": [(0x20000, 0x200FF), (0x3400, 0x343F), (0xF900, 0xF92F)],
    "kana": [(0x3041, 0x3096), (0x30A1, 0x30FA)],
    "hangul": [(0xAC00, 0xACFF)],
    "jamo": [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2)],
    "wide": [(0xFF01, 0xFF9F)],
    "emoji": [(0x1F600, 0x1F64F), (0x1F300, 0x1F3FF)],
    "letter-like": [(0x1D400, 0x1D45F), (0x2100, 0x214F), (0x2460, 0x24FF), (0xFB00, 0xFB06)],
    "digits": [(0x30, 0x39)] * 4 + [(0x660, 0x669), (0xB2, 0xB3), (0x2150, 0x2189)],
    "signs": [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x205E), (0x3001, 0x3011)],
}
SPACES = [" "] * 12 + ["  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2009", "\u200b"]
JOINED = ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷", "❤️", "☃︎", "e\u0301", "a\u030a\u0323", "ﷺ", "ǅ", "ŉ", "İ", "ẞ", "Σ", "ς", "が", "ﬁ"]
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<mask>", "<unk>", "<|endoftext|>", "<0x41>", "▁", "Ġ", "##ing"]
CONTROLS = ["\u0000", "\u0001", "\u0007", "\u001b", "\u007f", "\u0085", "\u00ad", "\ufeff", "\ufffd", "\u2028", "\u2060", "\u0378", "\ue000"]
CONTRACTIONS = ["don't", "I'LL", "we've", "they're", "it's", "'tis", "O'Neil’s", "'S", "y'all'd've", "can’t"]


def word(rng, script):
    return "".join(chr(rng.randint(*rng.choice(SCRIPTS[script]))) for _ in range(rng.randint(1, 9)))


def cased(rng, text):
    return rng.choice([str, str, str, str.upper, str.title])(text)


def piece(rng, words):
    kind = rng.random()
    if kind < 0.45:
        return cased(rng, rng.choice(words))
    if kind < 0.80:
        return cased(rng, word(rng, rng.choice(list(SCRIPTS))))
    if kind < 0.86:
        return f"{rng.randint(0, 10 ** rng.randint(1, 9)):,}" + rng.choice(["", ".5", "e-10", "%", "km"])
    if kind < 0.90:
        return f"https://{rng.choice(words)}.org/{rng.choice(words)}?q={rng.randint(0, 99)}#{rng.choice(words)}"
    return rng.choice(JOINED + SPECIAL + CONTROLS + CONTRACTIONS)


def texts(corpus):
    rng = random.Random(20)
    words = [each for line in corpus for each in line.split(" ") if each]
    yield from ["", " ", "  ", "\n", "\t\t", "a", "▁", " ▁ ", "\u0000", "\u200b", "é", "e\u0301", "👍", "𠀀", "İ", "'", "''s"]
    yield from corpus
    for length in (100, 101, 1000, 20_000):
        yield "a" * length
        yield "ab " * (length // 3)
        yield "漢" * (length // 4)
        yield "é1-" * (length // 6)
    for _ in range(12):
        yield "".join(piece(rng, words) + rng.choice(SPACES) for _ in range(400))
    while True:
        parts = [piece(rng, words) + rng.choice(SPACES + ["", "", "-", "/", ", "]) for _ in range(rng.randint(1, 12))]
        yield rng.choice(["", "", "", " ", "  ", "\n"]) + "".join(parts)


def first(count, iterator):
    found = []
    for each in iterator:
        found.append(each)
        if len(found) == count:
            return found
    return found


def added(tokenizer, names, **options):
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False, **options) for name in names])


def pair_template(before, after, tokenizer):
    ids = [(name, tokenizer.token_to_id(name)) for name in dict.fromkeys(before + after)]
    return processors.TemplateProcessing(single=" ".join([*before, "$A", *after]), special_tokens=ids)


def word_piece(sample, lowercase, special, wrapper):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, limit_alphabet=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(sample, trainer)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = wrapper(tokenizer)
    return tokenizer


def byte_bpe(sample, special, normalizer=None, pre_tokenizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sample, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split_then_bytes(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


QWEN_2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = QWEN_2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def charsmap(sample, lines):
    """Compiles a SentencePiece normalisation: NFKC of the characters of these lines, and the usual spaces and controls."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as proto

    rules = {}
    for each in sorted(set("".join(lines))):
        target = unicodedata.normalize("NFKC", each)
        if unicodedata.category(each) in ("Cc", "Cf") or each in "\ufffd\u2028":
            target = " " if each in "\t\n\r\u200b\ufeff\ufffd\u2028" else ""
        if target != each and each != "\0":
            rules[each] = target
        composed = unicodedata.normalize("NFD", each)
        if composed != each:
            rules[composed] = unicodedata.normalize("NFKC", each)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rules.tsv"
        code = lambda text: " ".join(f"{ord(each):X}" for each in text)
        table.write_text("".join(f"{code(source)}\t{code(target)}\n" for source, target in rules.items() if source != target))
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample), model_writer=model, vocab_size=300, minloglevel=2, hard_vocab_limit=False,
            normalization_rule_tsv=str(table),
        )
    parsed = proto.ModelProto()
    parsed.ParseFromString(model.getvalue())
    return parsed.normalizer_spec.precompiled_charsmap


def unigram(sample, special, wrapper, normalizer, metaspace):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = metaspace
    trainer = trainers.UnigramTrainer(vocab_size=3000, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(sample, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = wrapper(tokenizer)
    return tokenizer


def sentencepiece_bpe(sample):
    """Makes a tokenizer like that of Llama 2: no pre-tokenizer, spaces are ▁, text without a token becomes byte tokens."""
    special = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*"), behavior="isolated")
    trainer = trainers.BpeTrainer(vocab_size=800, limit_alphabet=150, special_tokens=special + bytes_, show_progress=False)
    trained.train_from_iterator(sample, trainer)
    data = json.loads(trained.to_str())
    data["model"]["byte_fallback"] = True
    data["pre_tokenizer"] = None
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ])
    tokenizer.post_processor = pair_template(["<s>"], [], tokenizer)
    return tokenizer


def families(sample):
    bert_special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bert = lambda t: pair_template(["[CLS]"], ["[SEP]"], t)
    mpnet_special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    roberta = lambda t: processors.RobertaProcessing(sep=("</s>", t.token_to_id("</s>")), cls_token=("<s>", t.token_to_id("<s>")), add_prefix_space=False)
    xlm = lambda t: pair_template(["<s>"], ["</s>"], t)

    made = {
        "bert uncased": word_piece(sample, True, bert_special, bert),
        "bert cased": word_piece(sample, False, bert_special, bert),
        "mpnet": word_piece(sample, True, mpnet_special, roberta),
        "gpt2": byte_bpe(sample, ["<|endoftext|>"]),
        "roberta": byte_bpe(sample, ["<s>", "<pad>", "</s>", "<unk>"]),
        "modernbert": byte_bpe(sample, ["<|padding|>", "[CLS]", "[SEP]"], normalizers.NFC()),
        "qwen2": byte_bpe(sample, ["<|endoftext|>"], normalizers.NFC(), split_then_bytes(QWEN_2)),
        "llama3": byte_bpe(sample, ["<|begin_of_text|>"], None, split_then_bytes(LLAMA_3), ignore_merges=True),
        "llama2": sentencepiece_bpe(sample),
        "xlm-roberta": unigram(
            sample,
            ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            xlm,
            normalizers.Sequence([
                normalizers.Precompiled(charsmap([line for line in sample if line.isascii()], sample)), normalizers.Replace(Regex(" {2,}"), " ")
            ]),
            pre_tokenizers.Metaspace(),
        ),
    }
    added(made["roberta"], ["<mask>"], lstrip=True)
    made["roberta"].post_processor = roberta(made["roberta"])
    made["mpnet"].post_processor = roberta(made["mpnet"])
    made["modernbert"].post_processor = bert(made["modernbert"])
    made["llama3"].post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), pair_template(["<|begin_of_text|>"], [], made["llama3"])]
    )
    return made


VARIANTS = {
    "xlm-roberta at spaces": ("xlm-roberta", {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        ]},
    }),
    "roberta with a space first": ("roberta", {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }),
    "llama2 of later versions": ("llama2", {
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    }),
    "modernbert with tokens for runs of spaces": ("modernbert", {
        "more_tokens": [" " * count for count in range(24, 1, -1)] + ["|||IP_ADDRESS|||"],
    }),
}


def varied(tokenizer, parts):
    """Makes a tokenizer.json with other parts, and with added tokens that are not special."""
    data = {**tokenizer, **{name: part for name, part in parts.items() if name != "more_tokens"}}
    first_id = max(max(data["model"]["vocab"].values()), *(token["id"] for token in data["added_tokens"])) + 1 if "more_tokens" in parts else 0
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    more = [{"id": first_id + i, "content": content, **flags} for i, content in enumerate(parts.get("more_tokens", []))]
    return {**data, "added_tokens": data["added_tokens"] + more}


def hashes(tokenizer, lines):
    def digest(ids):
        return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:6]

    return "".join(digest(tokenizer.encode(line).ids) for line in lines)


def real(folder):
    for path in sorted(Path(folder).iterdir()):
        if (path / "tokenizer.json").exists():
            tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            yield path.name, tokenizer
        elif (path / "merges.txt").exists():
            tokenizer = Tokenizer(models.BPE.from_file(str(path / "vocab.json"), str(path / "merges.txt")))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            added(tokenizer, ["<|endoftext|>"])
            yield path.name, tokenizer


def compact(tokenizer):
    data = json.loads(tokenizer.to_str())
    if data["model"]["type"] == "Unigram":
        data["model"]["vocab"] = [[token, round(score, 4)] for token, score in data["model"]["vocab"]]
    return data


def main():
    corpus = (FIXTURES / "corpus.txt").read_text().strip().split("\n")
    lines = first(1000, texts(corpus))
    sample = [line for line in lines if len(line) < 3000]
    tokenizers = {name: compact(tokenizer) for name, tokenizer in families(sample).items()}
    tried = dict(tokenizers)
    variants = {}
    for name, (family, parts) in VARIANTS.items():
        tried[name] = varied(tokenizers[family], parts)
        changed = [part for part, value in tried[name].items() if value != tokenizers[family][part]]
        variants[name] = {"of": family, "parts": {part: tried[name][part] for part in changed}}
    result = {
        "texts": lines,
        "tokenizers": tokenizers,
        "variants": variants,
        "hashes": {name: hashes(Tokenizer.from_str(json.dumps(data)), lines) for name, data in tried.items()},
        "real": {name: hashes(tokenizer, lines) for name, tokenizer in (real(sys.argv[1]) if len(sys.argv) > 1 else [])},
    }
    path = FIXTURES / "families.json.gz"
    path.write_bytes(gzip.compress(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0))
    print(path, path.stat().st_size, "bytes;", len(lines), "texts,", sum(map(len, lines)), "characters")


if __name__ == "__main__":
    main()
