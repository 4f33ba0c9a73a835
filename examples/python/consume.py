"""Print every property of the messages of the queue "example", which is bound to "test_exchange".

    python3 consume.py          print messages until it is stopped
    python3 consume.py N        print N messages and end
"""

import sys

import warren

PROPERTIES = ("app_id", "cluster_id", "content_encoding", "content_type", "correlation_id", "delivery_mode", "expiration",
              "headers", "message_id", "priority", "reply_to", "timestamp", "type", "user_id")


def main():
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None
    connection, channel = warren.connect()
    channel.exchange_declare("test_exchange", "fanout")
    channel.queue_declare("example")
    channel.queue_declare("example")  # to declare a queue twice is harmless
    channel.queue_bind("example", "test_exchange")
    print("waiting for messages", flush=True)
    for number, (method, properties, body) in enumerate(channel.consume("example"), start=1):
        for name in PROPERTIES:
            print(f"{name}: {getattr(properties, name)}")
        print(f"body: {body.decode(errors='replace')}", flush=True)
        channel.basic_ack(method.delivery_tag)
        if number == wanted:
            break
    connection.close()


if __name__ == "__main__":
    main()
