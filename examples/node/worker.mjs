// Works the jobs of a queue: node worker.mjs [QUEUE]. Its kind is reverse.

import { Permanent, work } from './warren.mjs';

async function reverse({ args, progress }) {
  if (typeof args.text !== 'string') throw new Permanent('text is missing');
  if (args.text === '') throw new TypeError('text is empty');
  await progress(1, 2, 'read');
  return { text: [...args.text].reverse().join('') };
}

const queue = process.argv[2] ?? 'node';
await work(queue, { reverse }, 4);
console.log(`works the queue ${queue}`);
