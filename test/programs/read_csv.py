"""The rows of a CSV text, as Python's own reader sees them; one JSON line of input a line of output."""

import csv
import io
import json
import sys

for line in sys.stdin:
    print(json.dumps(list(csv.reader(io.StringIO(json.loads(line)["csv"], newline="")))))
