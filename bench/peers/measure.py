"""Measures and reports for every Python side of the benchmark. Records the memory at the start, so import it first."""

import json
import resource
import sys


def peak_resident_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


START_RESIDENT_BYTES = peak_resident_bytes()


def report(result):
    print("bench-result " + json.dumps(result), flush=True)
