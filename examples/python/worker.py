"""Work the jobs of a queue: python3 worker.py [QUEUE]. Its kinds are sum and count."""

import sys
import time

import warren


def total(job):
    """Add numbers, such as {"numbers": [1, 2, 3]}."""
    numbers = job.args["numbers"]
    if any(n < 0 for n in numbers):
        raise ValueError(f"negative number in {numbers}")
    return {"sum": sum(numbers)}


def count(job):
    """Count to {"to": 10}, a number each half second."""
    to = job.args["to"]
    for n in range(to):
        job.progress(n, to, f"counted to {n}")
        time.sleep(0.5)
    return {"counted": to}


if __name__ == "__main__":
    queue = sys.argv[1] if len(sys.argv) > 1 else "python"
    print(f"{warren.NAME} works the queue {queue}", flush=True)
    try:
        warren.work(queue, {"sum": total, "count": count})
    except KeyboardInterrupt:
        pass  # the broker gives the job that was running to another worker
