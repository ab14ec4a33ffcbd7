"""Writes the Parquet files under src/data/fixtures/ for the tests of the readers.

    pip install pyarrow && python tools/reference/parquet_fixtures.py

Written with pyarrow 26.0.1; other versions write other bytes with the same content.
"""

from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).resolve().parents[2] / "src" / "data" / "fixtures"


def pairs(rows: int) -> pa.Table:
    """Makes triples with a text positive, a list of negatives (none in every fifth row), scores, and an irrelevant column."""
    return pa.table(
        {
            "anchor": [f"query number {i} — ünïcödé" for i in range(rows)],
            "positive": [f"answer {i % 40}" for i in range(rows)],
            "negatives": pa.array(
                [None if i % 5 == 0 else [f"wrong {i}", f"answer {(i + 1) % 40}"] for i in range(rows)],
                pa.list_(pa.string()),
            ),
            "embedding": pa.array([[float(i), 0.5] for i in range(rows)], pa.list_(pa.float32())),
        }
    )


def documents() -> pa.Table:
    """Makes documents with a column of every type that metadata can come from; the second document has none of them."""
    return pa.table(
        {
            "id": ["a", "b"],
            "title": ["T", None],
            "text": ["first", "second"],
            "year": pa.array([2020, None], pa.int32()),
            "big": pa.array([2**60, None], pa.int64()),
            "price": pa.array([1.5, None], pa.float64()),
            "flag": pa.array([True, None], pa.bool_()),
            "when": pa.array([datetime(2024, 1, 5, 12, 30, tzinfo=timezone.utc), None], pa.timestamp("ms", tz="UTC")),
            "day": pa.array([date(2024, 1, 5), None], pa.date32()),
            "tags": pa.array([["io", "file"], None], pa.list_(pa.string())),
            "of": pa.array([{"part": "x y", "page": 3}, None], pa.struct([("part", pa.string()), ("page", pa.int64())])),
            "embedding": pa.array([[0.5, 1.0], None], pa.list_(pa.float32())),
            "blob": pa.array([b"\x00\xff", None], pa.binary()),
            "nothing": pa.array([None, None], pa.string()),
        }
    )


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for codec in ["none", "snappy", "gzip", "zstd", "brotli"]:
        # 100 rows in groups of 32: three full groups and a rest.
        pq.write_table(pairs(100), OUT / f"pairs-{codec}.parquet", compression=codec, row_group_size=32)

    pq.write_table(documents(), OUT / "documents.parquet")

    beir = OUT / "beir-parquet"
    for name, table in {
        "corpus/corpus-00000-of-00002": {"_id": ["a", "b"], "title": ["A", ""], "text": ["first", "second"]},
        "corpus/corpus-00001-of-00002": {"_id": ["c"], "title": [None], "text": ["third"]},
        "queries/queries-00000-of-00001": {"_id": pa.array([7, 8], pa.int64()), "text": ["one", "two"]},
        "qrels/test-00000-of-00001": {
            "query-id": pa.array([7, 8, 8], pa.int64()),
            "corpus-id": ["a", "c", "b"],
            "score": pa.array([1, 2, 0], pa.int64()),
        },
    }.items():
        path = beir / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)


main()
