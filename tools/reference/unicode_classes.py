"""Writes the classes of characters by which Hugging Face's `tokenizers` library splits and cleans texts.

    python tools/reference/unicode_classes.py /tmp/classes.json    # needs `pip install tokenizers` (0.23.3 made the committed file)
    npx tsx tools/reference/unicode-classes.ts /tmp/classes.json   # writes src/text/unicode-exceptions.ts

The library's tables are older than Node's: characters that Unicode has added since are no punctuation and no marks there.
Each class is a list of [first, last] code points, found by trying every character.
"""

import json
import sys

from tokenizers import normalizers, pre_tokenizers

CHARACTERS = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def ranges(belongs):
    found = []
    for code in CHARACTERS:
        if not belongs(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def bert(**fields):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    normalizer = normalizers.BertNormalizer(**{**off, **fields})
    return lambda text: normalizer.normalize_str(text)


punctuation = pre_tokenizers.Punctuation()
mark = normalizers.StripAccents()
classes = {
    "PUNCTUATION": ranges(lambda each: len(punctuation.pre_tokenize_str(f"x{each}x")) > 1),
    "MARK": ranges(lambda each: mark.normalize_str(f"x{each}") == "x"),
    "NONSPACING_MARK": ranges(lambda each: bert(strip_accents=True)(f"x{each}") == "x"),
    "CONTROL": ranges(lambda each: bert(clean_text=True)(f"x{each}") == "x"),
}
with open(sys.argv[1], "w") as file:
    json.dump(classes, file)
