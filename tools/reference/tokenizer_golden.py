"""Writes golden ids of Hugging Face's `tokenizers` library for src/text.

    npx tsx tools/reference/tokenizer-golden.ts   # trains wordpiece.json and bpe.json from corpus.txt
    python tools/reference/tokenizer_golden.py       # needs `pip install tokenizers` (0.23.3 made the committed file)

Writes src/text/fixtures/unigram.json and src/text/fixtures/hugging-face-ids.json:

    lines       about 200 texts: the corpus, unusual Unicode, and seeded mixtures of both
    tokenizers  ids of every line from each of the three tokenizers, including special tokens
    variants    other components around the WordPiece vocabulary, ids of a part of the lines without special tokens
    truncated   ids of the first lines cut to 12 tokens
"""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FIXTURES = Path(__file__).resolve().parents[2] / "src" / "text" / "fixtures"

AWKWARD = [
    "",
    " ",
    "   leading and trailing   ",
    "two  spaces   three\ttab\nnewline\r\nreturn",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u200bzero",
    "[CLS] a literal [SEP] token [MASK] here [mask] [cls]",
    "x[SEP]y [[PAD]] [UNK]",
    "<s> roberta </s> style <mask>tokens <pad><unk>",
    "control\u0000\u0001\u0007\u001b\u007f\u0085\u00ad characters",
    "a \ufeffbyte order mark and \ufffd replacement",
    "ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ Σ ΑΣ. ΑΣΑ",
    "İstanbul ISPARTA ıçli DIŞ",
    "ÄÖÜ äöü ß ẞ ﬁ ﬂ ǅ ŉ",
    "e\u0301 e\u0302\u0323 n\u0303 a\u030a \u0301start c\u0327",
    "𠀀𠀁 x𪜀y 𫝀 𫠠 𬺰 你好x世界",
    "漢字かな交じり文 ABCデf",
    "ﾊﾝｶｸ ｶﾅ ＡＢＣ１２３",
    "한국어 한국어 조합",
    "नमस्ते दुनिया क्षत्रिय",
    "ภาษาไทย กำลังดี",
    "العَرَبِيَّةُ مُحَمَّد",
    "שָׁלוֹם עוֹלָם",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ ☃︎",
    "𝐁𝐨𝐥𝐝 𝟙𝟚𝟛 ℕ ℝ ⅷ ① ² ½",
    "a.b,c;d:e!f?g(h)i[j]k{l}m<n>o=p+q-r*s/t\\u|v&w%x$y#z@_^`~'\"",
    "...!!!??? --- ___ *** ### $$$ ¿¡ «» „“ ‚‘ – — … ‰ § ¶ 、。「」・",
    "don't I'LL we've they're it's 'tis rock'n'roll O'Neil's 'S",
    "1 12 123 1234 12345 1,234.56 3.14e-10 0x1F ٣٤٥ ५६",
    "http://a.b/c?d=e&f=g#h user@host.tld C:\\path\\file.txt",
    "camelCase snake_case kebab-case SCREAMING_CASE i18n",
    "a" * 99,
    "b" * 100,
    "c" * 101,
    "token" * 40,
    "x" * 60 + " " + "y" * 130 + " end",
    "\u0378 \u0fff unassigned \ue000 private \U000f0000 \U0010ffff",
    "\u1e9b\u0323 \u0958 \u2126 \u212b \u212a",
    "\u115f\u3164\uffa0 fillers \u034f joiner",
    "tab\tseparated\tvalues\tof tokens",
    "\n\n\nretrieval\n\n",
    "dense retriever" + " " * 40 + "scores",
    "Ǆ ǆ Ⅷ ⓐ Ⓐ",
]

VARIANTS = {
    "null normalizer, Whitespace": (None, {"type": "Whitespace"}),
    "Lowercase, WhitespaceSplit": ({"type": "Lowercase"}, {"type": "WhitespaceSplit"}),
    "cased Bert": (
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": False},
        {"type": "BertPreTokenizer"},
    ),
    "Bert without cleaning": (
        {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": True},
        {"type": "BertPreTokenizer"},
    ),
    "NFKC, Whitespace, Digits": (
        {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}]},
    ),
    "NFD, StripAccents, Punctuation": (
        {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
        {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}]},
    ),
    "Replace with a dollar, Strip, Digits in runs": (
        {
            "type": "Sequence",
            "normalizers": [
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Replace", "pattern": {"String": "e"}, "content": "$&"},
                {"type": "Replace", "pattern": {"Regex": "[0-9]+"}, "content": "7"},
            ],
        },
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Punctuation", "behavior": "Contiguous"},
                {"type": "Digits", "individual_digits": False},
            ],
        },
    ),
    "Split": (
        None,
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Removed", "invert": False},
                {"type": "Split", "pattern": {"Regex": r"\p{Lu}?\p{Ll}+|\p{N}{1,3}"}, "behavior": "Isolated", "invert": False},
            ],
        },
    ),
}


def load(json_object):
    return Tokenizer.from_str(json.dumps(json_object))


def mixtures(corpus, count):
    rng = random.Random(7)
    words = [word for line in corpus + AWKWARD for word in line.split(" ") if 0 < len(word) <= 40]
    for _ in range(count):
        yield rng.choice(["", "", " ", "\n"]) + "".join(
            rng.choice(words) + rng.choice([" ", " ", " ", " ", "  ", "\n", "\t", "", ", ", ". "]) for _ in range(rng.randint(3, 14))
        )


def train_unigram(corpus):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    result = json.loads(tokenizer.to_str())
    result["model"]["vocab"] = [[piece, round(score, 4)] for piece, score in result["model"]["vocab"]]
    return result


def compare_training(corpus, ours):
    """Compares Undrift's WordPiece trainer with Hugging Face's. Only tokens are compared, since their ids depend on a hash map's order."""
    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer()
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, min_frequency=2, limit_alphabet=250, special_tokens=special, show_progress=False)
    theirs.train_from_iterator(corpus, trainer)
    mine, their = set(ours["model"]["vocab"]), set(theirs.get_vocab())
    print(f"wordpiece: {len(mine)} tokens of ours, {len(their)} of theirs, {len(mine & their)} in common")


def main():
    corpus = (FIXTURES / "corpus.txt").read_text().strip().split("\n")
    lines = corpus + AWKWARD
    lines += list(mixtures(corpus, 200 - len(lines)))
    tokenizers = {name: json.loads((FIXTURES / f"{name}.json").read_text()) for name in ("wordpiece", "bpe")}
    compare_training(corpus, tokenizers["wordpiece"])
    tokenizers["unigram"] = train_unigram(corpus)
    (FIXTURES / "unigram.json").write_text(json.dumps(tokenizers["unigram"], ensure_ascii=False, separators=(",", ":")) + "\n")

    part = list(range(len(corpus), len(corpus) + len(AWKWARD))) + list(range(0, len(corpus), 4))
    variants = []
    for name, (normalizer, pre_tokenizer) in VARIANTS.items():
        changed = {**tokenizers["wordpiece"], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": None}
        ids = [load(changed).encode(lines[i]).ids for i in part]
        variants.append({"name": name, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "ids": ids})

    truncated = {}
    for name, json_object in tokenizers.items():
        tokenizer = load(json_object)
        tokenizer.enable_truncation(12)
        truncated[name] = [tokenizer.encode(line).ids for line in lines[:20]]

    golden = {
        "lines": lines,
        "tokenizers": {name: [load(each).encode(line).ids for line in lines] for name, each in tokenizers.items()},
        "decoded": {
            name: [load(each).decode(load(each).encode(line).ids) for line in lines[:20]] for name, each in tokenizers.items()
        },
        "variantLines": part,
        "variants": variants,
        "truncated": truncated,
    }
    path = FIXTURES / "hugging-face-ids.json"
    path.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
