"""Submit and work Warren's jobs from Python, with pika. The rules are in docs/protocol.md."""

import json
import os
import queue
import socket
import threading
import time
import traceback
import uuid

import pika
import pika.exceptions

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
PREFIX = os.environ.get("WARREN_PREFIX", "warren")
NAME = os.environ.get("WARREN_NAME", f"{socket.gethostname()}/{os.getpid()}")


def connect():
    """Return a connection and a channel on which basic_publish waits for the broker's confirm."""
    parameters = pika.URLParameters(URL)
    parameters.client_properties = {"connection_name": NAME}  # shown on the queue's page
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    return connection, channel


def declare(channel, name):
    """Declare a job queue as Warren does. To declare it twice is harmless."""
    channel.exchange_declare(f"{PREFIX}.jobs", "direct", durable=True)
    channel.queue_declare(f"{PREFIX}.jobs.{name}", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(f"{PREFIX}.jobs.{name}", f"{PREFIX}.jobs", name)


def publish(channel, exchange, key, kind, body, **properties):
    """Publish a JSON message and wait until the broker has it. Raise pika.exceptions.UnroutableError
    if no queue takes it, and NackError if the queue is full."""
    channel.basic_publish(exchange, key, json.dumps(body), mandatory=True, properties=pika.BasicProperties(
        type=kind, content_type="application/json", delivery_mode=2, timestamp=int(time.time()), **properties))


def submit(channel, name, kind, args):
    """Submit a job and return its message id. Warren adopts one message per id: sent again, it is still one job."""
    message_id = str(uuid.uuid4())
    publish(channel, f"{PREFIX}.jobs", name, kind, args, message_id=message_id, app_id="python-example")
    return message_id


class Permanent(Exception):
    """Raised by a handler whose job is not to be tried again."""


class Job:
    """A job while its handler runs, in a thread of its own: the thread of the connection sends the reports."""

    def __init__(self, connection, channel, properties, body):
        self.connection, self.channel, self.properties = connection, channel, properties
        self.kind, self.body, self.reached = properties.type, body, queue.SimpleQueue()

    @property
    def args(self):
        return json.loads(self.body)

    def progress(self, done, total, message=""):
        """Report how far the handler is. It does not block."""
        self.reached.put({"done": done, "total": total, "message": message})

    def report(self, kind, **body):
        """Report to Warren and wait for the confirm. A message of another program asks for no report."""
        if self.properties.reply_to:
            publish(self.channel, "", self.properties.reply_to, kind, dict(body, worker=NAME),
                    correlation_id=self.properties.correlation_id)

    def run(self, handler):
        """Run the handler, while the connection stays alive, and report how it ended."""
        result = {}

        def work():
            try:
                output = handler(self)
                json.dumps(output, allow_nan=False)  # an output that is not JSON fails the attempt, too
                result["completed"] = {"output": output}
            except Exception as error:
                result["failed"] = {"error": str(error) or repr(error), "class": type(error).__name__,
                                    "stack": traceback.format_exc(), "permanent": isinstance(error, Permanent)}

        self.report("started")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            self.connection.process_data_events(time_limit=0)  # heartbeats
            while not self.reached.empty():
                self.report("progress", progress=self.reached.get())
        for kind, body in result.items():
            self.report(kind, **body)


def work(name, handlers):
    """Work the jobs of the queue with that name, one at a time, for ever. handlers are functions by kind: what one returns
    is the job's output, and what it raises fails the attempt."""
    while True:
        try:
            consume(name, handlers)
        except pika.exceptions.AMQPConnectionError as error:  # the broker gives what was not acknowledged to another worker
            print(f"the connection to the broker has ended: {error!r}", flush=True)
            time.sleep(2)


def consume(name, handlers):
    connection, channel = connect()
    declare(channel, name)
    channel.basic_qos(prefetch_count=1)
    for method, properties, body in channel.consume(f"{PREFIX}.jobs.{name}"):
        job = Job(connection, channel, properties, body)
        job.run(handlers.get(job.kind) or unknown)
        channel.basic_ack(method.delivery_tag)  # after the confirm of the report: a job is never lost between the two


def unknown(job):
    raise NotImplementedError(f"this worker has no handler for the kind {job.kind}")
