"""Reads a line of JSON each, {"values": [...]}, and answers what the deployment guide's script would print of them."""

import json
import statistics
import sys

for line in sys.stdin:
    times = json.loads(line)["values"]
    print(
        json.dumps(
            {
                "min": min(times),
                "max": max(times),
                "avg": statistics.mean(times),
                "median": statistics.median(times),
                "p95": statistics.quantiles(times, n=20)[18],
                "p99": statistics.quantiles(times, n=100)[98],
            }
        )
    )
