"""Writes src/text/fixtures/tfidf.json: cosines of scikit-learn's TfidfVectorizer with its defaults, documents and queries included.

    pip install scikit-learn && python tools/reference/tfidf_golden.py
"""

import json
from pathlib import Path

import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer

DOCUMENTS = [
    "The cat sat on the mat. The cat slept.",
    "A dog chased the cat; the cat ran up a tree.",
    "Trees grow in the forest, and dogs run there.",
    "snake_case names, x86 and C++ are tokens of code",
    "Crème brûlée at the café in Zürich",
    "The ΟΔΟΣ and the Straße are roads",
    "a b c d",
    "",
    "cat",
    "cat cat cat",
    "Москва и Санкт-Петербург: 2 города, 1,234 домов",
    "The cat sat on the mat. The cat slept.",
]
QUERIES = ["cat", "the cat and the dog", "snake_case code", "crème at Zürich", "unknown words only", "the the the unknown cat", "города 234"]

vectorizer = TfidfVectorizer()
documents = vectorizer.fit_transform(DOCUMENTS)
cosines = (vectorizer.transform(QUERIES) @ documents.T).toarray()
terms = [vectorizer.build_analyzer()(text) for text in DOCUMENTS]
golden = {
    "scikit-learn": sklearn.__version__,
    "documents": DOCUMENTS,
    "queries": QUERIES,
    "terms": terms,
    "cosines": [[round(float(x), 9) for x in row] for row in cosines],
}
target = Path(__file__).parents[2] / "src/text/fixtures/tfidf.json"
target.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
