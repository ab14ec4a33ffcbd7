"""Writes matches of answers, by the functions of the evaluation script of SQuAD 2.0.

Run from the repository root:  python tools/reference/squad_golden.py

src/eval/fixtures/answer_matches.json: a list of [predicted, right answers, normalised prediction, exact match, F1].
"""

import collections
import json
import pathlib
import random
import re
import string

OUT = pathlib.Path("src/eval/fixtures/answer_matches.json")


def normalize_answer(s):
    def remove_articles(text):
        return re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE)

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        return "".join(ch for ch in text if ch not in set(string.punctuation))

    return white_space_fix(remove_articles(remove_punc(s.lower())))


def f1(predicted, right):
    a, b = normalize_answer(predicted).split(), normalize_answer(right).split()
    if len(a) == 0 or len(b) == 0:
        return int(a == b)
    same = sum((collections.Counter(a) & collections.Counter(b)).values())
    if same == 0:
        return 0
    precision, recall = same / len(a), same / len(b)
    return 2 * precision * recall / (precision + recall)


WORDS = [
    *["the", "The", "A", "an", "AN", "cat", "cat's", "Cats", "U.S.A.", "1,000", "(red)", "blue-green", "the-end", "a_b", "éa", "theé"],
    *["naïve", "ÉCOLE", "école", "«the»", "“a”", "the", "ΣΑΣ", "İstanbul", "東京", "٣", "½the", "...", "-", "a.", "x\u00a0y", "x\u2003y"],
    *["x\x85y", "\t", "\n", "an", "answer"],
]
random.seed(6)
text = lambda: " ".join(random.choices(WORDS, k=random.randint(0, 5)))
pairs = [(text(), [text() for _ in range(random.randint(1, 3))]) for _ in range(300)]
pairs += [("the", ["a"]), ("", ["x"]), ("x", [""]), ("", [""]), ("The cat!", ["cat"]), ("cat cat", ["cat"]), ("big red cat", ["the red cat", "dog"])]
golden = []
for predicted, right in pairs:
    exact = max(int(normalize_answer(predicted) == normalize_answer(one)) for one in right)
    golden.append([predicted, right, normalize_answer(predicted), exact, max(f1(predicted, one) for one in right)])
OUT.write_text(json.dumps(golden, ensure_ascii=True) + "\n")
print(len(golden), sum(row[3] for row in golden))
