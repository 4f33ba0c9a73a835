// Submits a job: node submit.mjs QUEUE KIND [JSON]

import { connect, submit } from './warren.mjs';

const [queue, kind, args = '{}'] = process.argv.slice(2);
if (!queue || !kind) {
  console.error('Usage: node submit.mjs QUEUE KIND [JSON]');
  process.exit(2);
}
const { connection, channel } = await connect();
try {
  console.log(await submit(channel, queue, kind, JSON.parse(args)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
await connection.close();
