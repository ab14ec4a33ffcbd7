"""Trains a small tokenizer as SentencePiece made that of T5, and writes the ids that transformers gives to a hundred texts.

Run from the repository root:  python tools/reference/t5_tokenizer_golden.py     (needs: transformers, tokenizers, sentencepiece)

Writes src/text/fixtures/t5.json.gz:

    tokenizer  tokenizer.json in the form of google-t5/t5-small: normaliser `nmt_nfkc` (Precompiled), WhitespaceSplit and Metaspace,
               Unigram, an end token, and 100 sentinels <extra_id_0> …
    texts      texts with every kind of character that the normaliser changes, sentinels and runs of spaces
    cases      fields of tokenizer_config.json, and the ids of the texts
"""

import gzip
import json
import pathlib
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, decoders, AddedToken
from transformers import AutoTokenizer

OUT = pathlib.Path("src/text/fixtures/t5.json.gz")
CORPUS = pathlib.Path("src/text/fixtures/corpus.txt").read_text().splitlines()
SENTINELS = [f"<extra_id_{i}>" for i in range(100)]

TEXTS = [
    *("The cat sat on the mat.", "", " ", "   ", "a", " a", "a ", "  a   b  ", "a\tb", "a\nb", "a\r\n\r\nb", "\n", "\u00a0a\u00a0b"),
    *("\u3000全角\u3000空白", "a\u200bb", "a\u200db", "a\u2028b", "a\u2029b", "a\ufeffb", "\ufeffa", "a\u00adb", "a\u0000b", "a\u0001b"),
    *("a\u007fb", "a\u0085b", "\ufffd", "a\ufffdb", "\u2581a", "a \u2581 b", "▁▁", "a▁b"),
    *("ﬁne ﬂow ﬀ ﬃ", "Ⅷ ⅷ ½ ¼ ⅓", "① ② ⑩ ㊿", "ｆｕｌｌ ｗｉｄｔｈ", "ﾊﾝｶｸ ｶﾞ", "e\u0301 é", "a\u030a\u0323", "ñ n\u0303", "Å Å", "K Ω µ"),
    *("ǆ ǅ Ǆ", "ŉ", "ſ", "İ ı", "ẞ ß", "Σ ς σ", "x² y³ H₂O", "™ © ® ℠", "℃ ℉ №", "… ‥ ․", "“quotes” ‘single’ «guillemets»"),
    *("– — ― ‐ ‑ −", "• ‣ ◦", "€ £ ¥ ¢", "1,234.56", "3.14159", "10^6", "50%", "a/b\\c", "a_b-c", "C++ C#", "e-mail@example.org"),
    *("https://example.org/path?q=1&r=2#x", "don't can’t it's", "O'Neil’s", "U.S.A.", "Dr. Smith's", "(a) [b] {c}", "a!?!?", "...", "-- --"),
    *("東京 日本語 漢字", "한국어 ᄒ\u1161\u11ab", "русский язык", "ελληνικά", "עברית", "العربية ﷺ", "हिन्दी", "ไทย", "👍🏽 👩‍👩‍👧‍👦 🇩🇪", "❤️ ☃︎"),
    *("𝐛𝐨𝐥𝐝 𝓼𝓬𝓻𝓲𝓹𝓽", "\U00020000 \U0002f800", "\U0001f600", "㍿ ㌔", "ゔ う\u3099", "か\u3099", "ﾟ ﾞ"),
    *("<extra_id_0> a <extra_id_1>", "a<extra_id_0>b", "<extra_id_99><extra_id_100>", " <extra_id_5> ", "a </s> b", "</s>", "<pad>", "<unk>", "<s>"),
    *("translate English to German: That is good.", "x" * 300, "ab " * 60, "a" + " " * 50 + "b", "ﬁ" * 20, "\u0301", "\u0301\u0301a", "a\u0301" * 10),
]


def small():
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "text.txt")
        text.write_text("\n".join(CORPUS + [each for each in TEXTS if each.strip()]))
        sentencepiece.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=str(pathlib.Path(folder, "spiece")),
            vocab_size=420,
            hard_vocab_limit=False,
            character_coverage=0.985,
            normalization_rule_name="nmt_nfkc",
            **dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2),
        )
        model = proto.ModelProto()
        model.ParseFromString(pathlib.Path(folder, "spiece.model").read_bytes())
    pieces = [(each.piece, each.score) for each in model.pieces]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((each, 0.0) for each in reversed(SENTINELS))], unk_id=2))
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(each, normalized=False, special=True) for each in ("<pad>", "</s>", "<unk>", *SENTINELS)]
    )
    return json.loads(tokenizer.to_str()), tokenizer


tokenizer, plain = small()
SPECIAL = dict(eos_token="</s>", unk_token="<unk>", pad_token="<pad>", extra_ids=100, additional_special_tokens=SENTINELS)
cases = []
for settings in (
    dict(tokenizer_class="T5Tokenizer", **SPECIAL),
    dict(tokenizer_class="T5TokenizerFast", **SPECIAL),
    dict(tokenizer_class="PreTrainedTokenizerFast", **SPECIAL),
):
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "tokenizer.json").write_text(json.dumps(tokenizer))
        pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps(settings))
        pathlib.Path(folder, "config.json").write_text(json.dumps(dict(model_type="t5", vocab_size=len(tokenizer["model"]["vocab"]))))
        ids = [AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for text in TEXTS]
    cases.append(dict(settings=settings, ids=ids))
    own = [plain.encode(text).ids for text in TEXTS]
    print(settings["tokenizer_class"], sum(a != b for a, b in zip(ids, own)), "texts differ from tokenizers alone")
assert len(TEXTS) >= 100
OUT.write_bytes(gzip.compress(json.dumps(dict(tokenizer=tokenizer, texts=TEXTS, cases=cases)).encode(), mtime=0))
print(len(TEXTS), "texts", OUT.stat().st_size, "bytes", len(tokenizer["model"]["vocab"]), "pieces")
