"""Makes src/exchange/fixtures/pyarrow.parquet: a file of vectors as pyarrow writes it. Needs pyarrow."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

table = pa.table(
    {
        "id": [1, 2],
        "title": ["T", None],
        "text": ["x", "y"],
        "metadata": ['{"year":2020}', None],
        "space": ["ab" * 8] * 2,
        "time": pa.array([1700000000123, None], pa.timestamp("ms")),
        "vector": pa.array([[1.5, -0.0, 0.1], [2.5, 2.5, 1e-45]], pa.list_(pa.float32(), 3)),
    }
)
root = Path(__file__).resolve().parents[2]
pq.write_table(table, root / "src/exchange/fixtures/pyarrow.parquet")
