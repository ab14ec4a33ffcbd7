"""Writes golden ids for every component of a `tokenizer.json`, in every use, by Hugging Face's `tokenizers` library.

    python tools/reference/tokenizer_components.py    # needs `pip install tokenizers` (0.23.3 made the committed file)

Writes src/text/fixtures/components.json.gz:

    texts   120 texts put together from fragments on which implementations differ
    models  small models that the cases share
    cases   name, model, changes to it, normalizer, pre-tokenizer, added tokens; hashes of the ids of all texts, one after the other
"""

import gzip
import hashlib
import itertools
import json
import random
import struct
from pathlib import Path

from tokenizers import Tokenizer

FIXTURES = Path(__file__).resolve().parents[2] / "src" / "text" / "fixtures"

FRAGMENTS = [
    "the", "cat", "Sat", "ÜBER", "café", "e\u0301", "12", "3", "٣", "½", "²", "①", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u0085",
    "\ufeff", "\u200b", "\u200d", ".", ",", "!?", "...", "-", "_", "‿", "日本", "語", "日", "\U00020000", "👍🏽", "🇩🇪", "x.y", "[user]", "[USER]",
    "<e1>", "<mask>", "▁", "▁▁", "\u0378", "\ufffd", "\x00", "\x07", "ſ", "it's", "IT'S", "don't", "ΣΑΣ", "İ", "ß", "ﬁ", "Ａ", "ﷺ", "≠", "각", "각",
    "ก", "ำ", "aaa", "ab", "ba", "abc", "q" * 7, "ab" * 40, "tok1", "tok2", "TOK1", " tok1 ", "\u2028", "\u061d", "\u1734", "\u166d", "(", ")",
    "[", "]", "$", "+", "<", ">", "=", "^", "|", "~", "`", "@", "#", "/", "\\", "<unk>", "[UNK]", "<0x41>", "Ġ", "Ã", "1x", "ct", "aa",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
STRINGS = [".", " ", "ab", "▁", "日本", "$", "\n"]
EXPRESSIONS = [
    r"\d+", r"(\d)x", r"c(a)?t", r"(\w)\1", r"\G\d", r"\s+", r"\w+", r"\W", r"\b", r"\B", r"[^\w\s]", r"[\w-]+", r"\p{L}+", r"\p{Lu}", r"(?i)the",
    r"(?i:'s|'t)|\p{N}", r"a|ab", r"a*?", r"x*", r"^", r"$", r".", r"(?m:.+)", r"\p{P}", r"[[:punct:]]", r"(?>a+)b", r"a++b?", r"(?<=a)b", r"(?<!a)b",
    r"[[:alpha:]&&[^a-c]]", r"\h+", r"\R", r"\A.", r".\z", r".\Z", r"\p{Han}", r"a{,2}", r"(?<n>a)\k<n>", r"\x{3000}|\x41", r"(?x: a b )", r"a|\Gb",
    r"\p{^L}", r"((a)|b)+", r"[]a]",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
FLAGS = ["single_word", "lstrip", "rstrip", "normalized"]


def texts():
    rng = random.Random(12)
    return ["".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 12))) for _ in range(120)]


def models(lines):
    letters = sorted(set("".join(lines)) - set("각ำ"))
    words = ["the", "cat", "sat", "at", "ab", "abab", "aa", "user", "tok", "日本", "▁", "▁the", "▁c", "to", "Sat", "<0x41>", "fi"]
    tokens = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", *letters, *words]))
    pieces = dict.fromkeys([*tokens, *(f"##{each}" for each in [*letters, *words])])
    pairs = [("a", "b"), ("ab", "ab"), ("t", "h"), ("th", "e"), ("a", "t"), ("c", "at"), ("a", "a"), ("▁", "the"), ("日", "本"), ("t", "o"), ("to", "k"), ("▁", "c")]
    known = list(dict.fromkeys([*tokens, *(left + right for left, right in pairs), *(f"{each}</w>" for each in "abckt.日")]))
    suffixed = [("b", "a</w>"), ("a", "t</w>")]
    known += [left + right for left, right in suffixed]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    prefixed = [each for each in pieces if each.startswith("##")]
    number = lambda names: {name: i for i, name in enumerate(dict.fromkeys(names))}
    score = lambda i, piece: [piece, -1.0 - (i % 7) / 3 - 2.0 / len(piece)]
    unigram = [score(i, piece) for i, piece in enumerate([*tokens, *(["it", "'s", "on", "cafe"])])]
    bpe = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    continued = [[left, f"##{right}"] for left, right in [("a", "b"), ("t", "h"), ("th", "e"), ("c", "a"), ("ca", "t")]] + [["##a", "##b"]]
    joined = [left + right[2:] for left, right in continued]
    return {
        "wordpiece": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 60, "vocab": number(pieces)},
        "wordlevel": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": number(tokens)},
        "bpe": {**bpe, "fuse_unk": False, "byte_fallback": False, "vocab": number([*known, *bytes_]), "merges": [list(pair) for pair in pairs + suffixed]},
        "prefixed bpe": {**bpe, "continuing_subword_prefix": "##", "vocab": number([*known, *prefixed, *joined]), "merges": continued},
        "unigram": {"type": "Unigram", "unk_id": 1, "vocab": unigram},
        "unigram with bytes": {"type": "Unigram", "unk_id": 1, "byte_fallback": True, "vocab": [*unigram, *([name, -20.0] for name in bytes_)]},
    }


def token(content, **flags):
    return {"content": content, **{flag: False for flag in FLAGS}, "special": False, **flags}


def cases():
    whole = lambda **parts: dict(model="unigram", **parts)
    booleans = (False, True)
    for clean, spaced, strip, lower in itertools.product(booleans, booleans, (None, *booleans), booleans):
        yield whole(normalizer=dict(type="BertNormalizer", clean_text=clean, handle_chinese_chars=spaced, strip_accents=strip, lowercase=lower))
    for kind in ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents", "ByteLevel"):
        yield whole(normalizer=dict(type=kind))
    for left, right in itertools.product(booleans, booleans):
        yield whole(normalizer=dict(type="Strip", strip_left=left, strip_right=right))
    yield whole(normalizer=dict(type="Prepend", prepend="▁"))
    for pattern in [*({"String": each} for each in STRINGS), *({"Regex": each} for each in EXPRESSIONS)]:
        if pattern.get("Regex") not in ("^", "$", r"\b", r"\B", "x*", "a*?", "a{,2}"):
            yield whole(normalizer=dict(type="Replace", pattern=pattern, content="$1"))
        for behavior, invert in itertools.product(BEHAVIORS, booleans):
            if "Regex" not in pattern or behavior in ("Removed", "Isolated") or pattern["Regex"] in EXPRESSIONS[::4]:
                yield whole(pre_tokenizer=dict(type="Split", pattern=pattern, behavior=behavior, invert=invert))
    simple = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
    for kind in simple:
        yield dict(model="wordpiece", pre_tokenizer=dict(type=kind))
        yield dict(model="wordlevel", pre_tokenizer=dict(type=kind))
    for behavior in BEHAVIORS:
        yield whole(pre_tokenizer=dict(type="Punctuation", behavior=behavior))
    for individual in booleans:
        yield whole(pre_tokenizer=dict(type="Digits", individual_digits=individual))
    for delimiter in " a.日":
        yield whole(pre_tokenizer=dict(type="CharDelimiterSplit", delimiter=delimiter))
    for length in (1, 2, 5):
        yield whole(pre_tokenizer=dict(type="FixedLength", length=length))
    for prefix, regex in itertools.product(booleans, booleans):
        yield dict(model="bpe", changes=dict(byte_fallback=True), pre_tokenizer=dict(type="ByteLevel", add_prefix_space=prefix, trim_offsets=prefix, use_regex=regex))
    before = [
        None, dict(type="WhitespaceSplit"), dict(type="Punctuation", behavior="Isolated"), dict(type="Digits", individual_digits=True),
        dict(type="Split", pattern={"String": "\n"}, behavior="Isolated", invert=False), dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
        dict(type="Metaspace", replacement="_", prepend_scheme="never", split=True),
    ]
    starts = [None, dict(type="Strip", strip_left=True, strip_right=True), dict(type="Replace", pattern={"String": " "}, content="▁"), dict(type="NFD"), dict(type="Prepend", prepend="x ")]
    for first, scheme, split in itertools.product(before, ("always", "first", "never"), booleans):
        metaspace = dict(type="Metaspace", replacement="▁", prepend_scheme=scheme, split=split)
        chain = [each for each in (first, metaspace) if each]
        for normalizer in starts if scheme == "first" else starts[:1]:
            yield whole(normalizer=normalizer, pre_tokenizer=dict(type="Sequence", pretokenizers=chain), added=[token("<e1>")])
    nested = dict(type="Sequence", pretokenizers=[dict(type="Sequence", pretokenizers=[dict(type="WhitespaceSplit")]), dict(type="Sequence", pretokenizers=[])])
    yield dict(model="wordpiece", pre_tokenizer=nested)
    for fuse, fallback, ignore, unknown, suffix in itertools.product(booleans, booleans, booleans, (None, "[UNK]"), (None, "</w>")):
        changes = dict(fuse_unk=fuse, byte_fallback=fallback, ignore_merges=ignore, unk_token=unknown, end_of_word_suffix=suffix)
        yield dict(model="bpe", changes=changes, pre_tokenizer=dict(type="WhitespaceSplit"))
    for unknown in (None, "[UNK]"):
        yield dict(model="prefixed bpe", changes=dict(unk_token=unknown), pre_tokenizer=dict(type="Whitespace"))
    yield dict(model="unigram with bytes", pre_tokenizer=dict(type="WhitespaceSplit"))
    yield dict(model="unigram with bytes", changes=dict(unk_id=None))
    for most in (0, 3):
        yield dict(model="wordpiece", changes=dict(max_input_chars_per_word=most), pre_tokenizer=dict(type="WhitespaceSplit"))
    for flags in itertools.product(booleans, repeat=len(FLAGS)):
        chosen = [token(content, **dict(zip(FLAGS, flags))) for content in ("[user]", "tok1", "TOK2", "日", "<e1>", "ab")]
        for normalizer in (None, dict(type="Lowercase")):
            yield dict(model="wordpiece", normalizer=normalizer, pre_tokenizer=dict(type="BertPreTokenizer"), added=chosen)
        yield dict(model="bpe", normalizer=dict(type="NFKC"), pre_tokenizer=dict(type="Metaspace", replacement="▁", prepend_scheme="first", split=False), added=chosen)
    yield dict(model="wordpiece", pre_tokenizer=dict(type="WhitespaceSplit"), added=[token("x.y", lstrip=True, rstrip=True), token(" ", normalized=True)])


def main():
    lines = texts()
    shared = models(lines)
    result = []
    for case in cases():
        model = {**shared[case["model"]], **case.get("changes", {})}
        tokens = case.get("added", [])
        known = model["vocab"] if isinstance(model["vocab"], dict) else {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        fresh = itertools.count(len(known))
        added = [{"id": known[each["content"]] if each["content"] in known else next(fresh), **each} for each in tokens]
        parts = dict(version="1.0", truncation=None, padding=None, post_processor=None, decoder=None)
        file = {**parts, "normalizer": case.get("normalizer"), "pre_tokenizer": case.get("pre_tokenizer"), "added_tokens": added, "model": model}
        tokenizer = Tokenizer.from_str(json.dumps(file))
        hashes = ""
        for line in lines:
            try:
                ids = tokenizer.encode(line).ids
            except Exception:  # no token for a part of the text
                ids = [0xFFFFFFFF]
            hashes += hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:4]
        kept = {name: case[name] for name in ("model", "changes", "normalizer", "pre_tokenizer") if case.get(name) is not None}
        result.append({**kept, **({"added": added} if added else {}), "hashes": hashes})
    path = FIXTURES / "components.json.gz"
    content = json.dumps({"texts": lines, "models": shared, "cases": result}, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    print(path, path.stat().st_size, "bytes;", len(result), "cases")


if __name__ == "__main__":
    main()
