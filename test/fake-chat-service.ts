import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Request that a {@link FakeChatService} has got. */
export interface ChatRequest {
  readonly path: string | undefined;
  readonly authorization: string | undefined;
  readonly body: { model: string; stream: boolean; messages: { role: string; content: string }[] };
}

/** Chat service in the format of the OpenAI API, with an answer of its own for each model. */
export interface FakeChatService {
  readonly url: string;
  readonly requests: readonly ChatRequest[];
  /** Resolves when a client has left before the end of its answer. */
  readonly left: Promise<void>;
  close(): Promise<void>;
}

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;

/** Answers by model. Each begins where the request has been read. */
const ANSWERS: Record<string, (response: ServerResponse) => Promise<void> | void> = {
  async cites(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk({ role: 'assistant', content: '' }));
    for (const text of ['It opens a ', 'file [1]', ' — and söme', ' [7].']) {
      response.write(chunk({ content: text }));
      await sleep(5);
    }
    response.end(`: comment\n\n${chunk({}, 'stop')}data: [DONE]\n\n`);
  },
  whole(response) {
    const message = { role: 'assistant', content: 'At once [2].' };
    const json = { choices: [{ index: 0, message, finish_reason: 'length' }] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  },
  endless(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const more = () => {
      while (!response.destroyed && response.write(chunk({ content: 'again '.repeat(50) })));
    };
    response.on('drain', more);
    more();
  },
  silent() {},
  stalls(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunk({ content: 'It is' }));
  },
  breaks(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunk({ content: 'It is' }));
    setTimeout(() => response.destroy(), 20);
  },
  fails(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end('data: {"error":{"message":"the GPU is on fire"}}\n\n');
  },
  garbage(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"choices": [\n\n');
  },
  denied(response) {
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":{"message":"wrong key"}}');
  },
};

/** Starts the service on a free port of this machine. */
export async function fakeChatService(): Promise<FakeChatService> {
  const requests: ChatRequest[] = [];
  let leave = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const server = createServer(async (request: IncomingMessage, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = JSON.parse(Buffer.concat(parts).toString());
    requests.push({ path: request.url, authorization: request.headers.authorization, body });
    response.on('close', () => !response.writableFinished && leave());
    const answer = ANSWERS[body.model];
    if (answer) return void (await answer(response));
    response.writeHead(404, { 'content-type': 'text/plain' }).end(`model ${body.model} not found`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    left,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
