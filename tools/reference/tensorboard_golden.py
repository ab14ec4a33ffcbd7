"""Writes a TensorBoard event file with TensorBoard's own code, for src/io/tensorboard.test.ts.

Run from the repository root:  python tools/reference/tensorboard_golden.py     (needs: tensorboard, numpy)

With an event file or folder as argument, prints the values that TensorBoard reads from it instead.
"""

import io
import pathlib
import sys

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

if len(sys.argv) > 1:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        print(tag, [(e.step, e.value, e.wall_time) for e in accumulator.Scalars(tag)])
    for tag in accumulator.Tags()["histograms"]:
        print(tag, accumulator.Histograms(tag))
    sys.exit()


def limits():
    positive = []
    limit = 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    positive.append(sys.float_info.max)
    return [-x for x in reversed(positive)] + [0.0] + positive


def histogram(values):
    edges = np.array(limits())
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges)).astype(float)
    full = np.nonzero(counts)[0]
    part = slice(max(0, full[0] - 1), full[-1] + 1)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=(values**2).sum(),
        bucket_limit=edges[part],
        bucket=counts[part],
    )


def summary(**value):
    return Summary(value=[Summary.Value(**value)])


times = iter(1700000000.25 + i for i in range(100))
events = [
    Event(wall_time=next(times), file_version="brain.Event:2"),
    Event(wall_time=next(times), step=7, session_log=SessionLog(status=SessionLog.START)),
    Event(wall_time=next(times), summary=summary(tag="loss/training", simple_value=0.5)),
    Event(wall_time=next(times), step=8, summary=summary(tag="loss/training", simple_value=0.0)),
    Event(wall_time=next(times), step=2**40, summary=summary(tag="größe", simple_value=float("-inf"))),
    Event(
        wall_time=next(times),
        step=9,
        summary=summary(tag="weights", histo=histogram(np.array([-0.25, 0.0, 0.5, 0.5, 3.0, 1e-13, -2e20]))),
    ),
    Event(wall_time=next(times), step=10, summary=summary(tag="zeros", histo=histogram(np.zeros(3)))),
]
file = io.BytesIO()
writer = RecordWriter(file)
for event in events:
    writer.write(event.SerializeToString())
pathlib.Path("src/io/fixtures/golden.tfevents").write_bytes(file.getvalue())
