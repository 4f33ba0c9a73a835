// Submit and work Warren's jobs from Node.js, with amqplib. The rules are in docs/protocol.md.

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import amqp from 'amqplib';

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672/';
const PREFIX = process.env.WARREN_PREFIX ?? 'warren';
const NAME = process.env.WARREN_NAME ?? `${hostname()}/${process.pid}`;

/** Thrown by a handler whose job is not to be tried again. */
export class Permanent extends Error {}

/** Returns a connection and a channel whose messages the broker confirms. */
export async function connect() {
  const connection = await amqp.connect(URL, { clientProperties: { connection_name: NAME } }); // shown on the queue's page
  const channel = await connection.createConfirmChannel();
  channel.returned = new Set();
  channel.on('return', (message) => channel.returned.add(message.properties.messageId));
  return { connection, channel };
}

/** Declares a job queue as Warren does. To declare it twice is harmless. */
export async function declare(channel, queue) {
  await channel.assertExchange(`${PREFIX}.jobs`, 'direct', { durable: true });
  await channel.assertQueue(`${PREFIX}.jobs.${queue}`, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(`${PREFIX}.jobs.${queue}`, `${PREFIX}.jobs`, queue);
}

/** Publishes a JSON message. Rejects if the broker refuses it, or if no queue takes it. */
export async function publish(channel, exchange, key, type, body, properties) {
  const messageId = randomUUID();
  await new Promise((done, failed) => channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), {
    type, messageId, contentType: 'application/json', persistent: true, mandatory: true, timestamp: Math.floor(Date.now() / 1000), ...properties,
  }, (error) => (error ? failed(error) : done())));
  if (channel.returned.delete(messageId)) throw new Error(`no queue takes messages for ${key}`);
  return messageId; // the return of a message comes before its confirm
}

/** Submits a job and returns its message id. */
export function submit(channel, queue, kind, args) {
  return publish(channel, `${PREFIX}.jobs`, queue, kind, args, { appId: 'node-example' });
}

/** Works the jobs of a queue, up to slots at once. handlers are async functions of a job, by kind. */
export async function work(queue, handlers, slots = 1) {
  const { channel } = await connect();
  await declare(channel, queue);
  await channel.prefetch(slots);
  await channel.consume(`${PREFIX}.jobs.${queue}`, async (message) => {
    await run(channel, message, handlers);
    channel.ack(message); // after the confirm of the report: a job is never lost between the two
  });
}

async function run(channel, message, handlers) {
  const { type: kind, replyTo, correlationId } = message.properties;
  const report = (type, body) => replyTo && publish(channel, '', replyTo, type, { ...body, worker: NAME }, { correlationId });
  await report('started');
  try {
    const handler = handlers[kind];
    if (!handler) throw new Error(`this worker has no handler for the kind ${kind}`);
    const progress = (done, total, text = '') => report('progress', { progress: { done, total, message: text } });
    const output = await handler({ kind, args: JSON.parse(message.content), progress });
    await report('completed', { output });
  } catch (error) {
    await report('failed', { error: error.message || String(error), class: error.name, stack: error.stack, permanent: error instanceof Permanent });
  }
}
