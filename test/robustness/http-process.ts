/**
 * Server of a drill, in a process of its own:
 *
 *     http-process.ts FOLDER OPTIONS
 *
 * It tells its address, and answers the message `memory`. Any other message ends it.
 */
import { serveStore } from '../../src/serve/server.ts';

const [folder, options] = process.argv.slice(2) as [string, string];
const server = await serveStore(folder, { port: 0, threads: 1, ...JSON.parse(options) });
process.on('message', async (question: string) => {
  if (question === 'memory') {
    global.gc?.();
    process.send!({ memory: process.memoryUsage.rss() });
  } else {
    await server.close();
    process.disconnect();
  }
});
process.send!({ url: server.url });
