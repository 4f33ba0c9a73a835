"""Submit jobs: python3 submit.py [--queue QUEUE] [--count N] KIND [JSON]

Each {n} in the JSON becomes the number of the job.
"""

import argparse
import json
import sys

import pika.exceptions

import warren


def main():
    parser = argparse.ArgumentParser(description="Submit jobs to Warren")
    parser.add_argument("--queue", default="default")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("kind")
    parser.add_argument("args", nargs="?", default="{}", metavar="JSON")
    options = parser.parse_args()
    connection, channel = warren.connect()
    for n in range(options.count):
        try:
            args = json.loads(options.args.replace("{n}", str(n)))
        except ValueError as error:
            parser.error(f"JSON is not valid: {error}")
        try:
            print(warren.submit(channel, options.queue, options.kind, args))
        except pika.exceptions.UnroutableError:
            sys.exit(f"no queue takes jobs for {options.queue}: start a worker of it first")
        except pika.exceptions.NackError:
            sys.exit(f"the queue {options.queue} is full")
    connection.close()


if __name__ == "__main__":
    main()
