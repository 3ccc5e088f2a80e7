"""jobs.py starts and stops one job with 3 inputs and 2 outputs, so many times."""

import sys

import jobs
import redis

conn = redis.Redis(unix_socket_path=sys.argv[1])
inputs = [f"input.{n}" for n in (1, 2, 3)]
outputs = [f"output.{n}" for n in (1, 2)]
jobs._create_outputs(inputs, conn=conn, identifier="bench")
for _ in range(int(sys.argv[2])):
    job = jobs.ResourceManager(
        inputs, outputs, 60, overwrite=True, conn=conn, graph_history=True, identifier="bench"
    )
    job.start()
    job.stop()
