import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';

/** Repository of a fake hub. */
export interface FakeRepo {
  /** Contents by path, the same at every revision. */
  files: Record<string, Uint8Array | string>;
  /** Commits by branch or tag. Default: `main`. */
  refs?: Record<string, string>;
  /** Whether access needs a token. Default false. */
  gated?: boolean;
}

/** Fake of the Hugging Face hub. */
export interface FakeHub {
  /** URL of the server. */
  readonly url: string;
  /** Repositories by `models/org/name` or `datasets/org/name`. May be changed between requests. */
  readonly repos: Record<string, FakeRepo>;
  /** Requests so far: method and path, with the range and the token sent. */
  readonly requests: string[];
  /** Maximum number of bytes sent of a file's content. The server then closes the connection. */
  breakAfterBytes: number;
  /** Changes the content of a file before it is sent. */
  damage: (content: Buffer) => Buffer;
  /** URL of the server of large files. Requests for them are redirected to `CDN/PATH`. */
  cdn: string | undefined;
  /** Answers a request in another way. Returns whether it has done so, or will do so. */
  intercept: ((request: IncomingMessage, response: ServerResponse, path: string) => boolean) | undefined;
  /** Time before each answer, in milliseconds. */
  delayMs: number;
  /** Contents of other paths. */
  readonly others: Record<string, Uint8Array>;
  /** Stops the server. */
  close(): Promise<void>;
}

/** Token that opens gated repositories. */
export const FAKE_TOKEN = 'hf_test';
/** Commit of the branch `main`. */
export const COMMIT = 'c0ffee'.repeat(7).slice(0, 40);
/** Minimum size of files stored as large files, with their SHA-256, in bytes. */
const LARGE_BYTES = 1000;

const sha = (kind: string, bytes: Uint8Array) => createHash(kind).update(bytes).digest('hex');

/**
 * Starts a local server that answers the requests of the hub library. It stops at the end of the test file.
 */
export async function fakeHub(repos: Record<string, FakeRepo>): Promise<FakeHub> {
  const hub: Omit<FakeHub, 'url' | 'close'> = {
    repos,
    requests: [],
    breakAfterBytes: Number.POSITIVE_INFINITY,
    damage: (content) => content,
    cdn: undefined,
    intercept: undefined,
    delayMs: 0,
    others: {},
  };
  const server = createServer((request, response) => {
    if (hub.delayMs === 0) answer(hub, request, response);
    else setTimeout(() => answer(hub, request, response), hub.delayMs);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  let open = true;
  const close = () =>
    new Promise<void>((done) => {
      if (!open) return done();
      open = false;
      server.close(() => done());
      server.closeAllConnections();
    });
  afterAll(close);
  return Object.assign(hub, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close });
}

function answer(
  hub: Omit<FakeHub, 'url' | 'close'>,
  request: IncomingMessage,
  response: ServerResponse,
): unknown {
  const url = new URL(request.url ?? '', 'http://hub');
  const path = decodeURIComponent(url.pathname);
  const { range, authorization } = request.headers;
  hub.requests.push([request.method, path, range, authorization].filter(Boolean).join(' '));
  if (hub.intercept?.(request, response, path)) return;
  const refuse = (status: number, code?: string) => {
    response.writeHead(status, code ? { 'X-Error-Code': code } : {});
    response.end();
  };
  const json = (value: unknown) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(value));
  };
  const other = hub.others[path];
  if (other) return sendBytes(hub, request, response, Buffer.from(other));
  const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(path);
  const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
  const [kind, name] = api ? [api[1], api[2]] : [file?.[1] ? 'datasets' : 'models', file?.[2]];
  const repo = hub.repos[`${kind}/${name}`];
  const isKnown = authorization === `Bearer ${FAKE_TOKEN}`;
  if (!api && !file) return refuse(404);
  if (!repo) return isKnown ? refuse(404, 'RepoNotFound') : refuse(401, 'RepoNotFound');
  const refs = repo.refs ?? { main: COMMIT };
  const revision = (api ? api[4] : file?.[3])!;
  const commit = refs[revision] ?? Object.values(refs).find((each) => each === revision);
  if (commit === undefined) return refuse(404, 'RevisionNotFound');
  if (api?.[3] === 'revision') return json({ _id: '1', id: name, sha: commit, lastModified: '2026-01-01' });
  if (repo.gated && !isKnown) return refuse(401, 'GatedRepo');
  if (api) {
    return json(
      Object.entries(repo.files).map(([path, content]) => {
        const bytes = Buffer.from(content);
        const oid = sha('sha1', Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]));
        const lfs = { oid: sha('sha256', bytes), size: bytes.length, pointerSize: 120 };
        return { type: 'file', path, size: bytes.length, oid, ...(bytes.length >= LARGE_BYTES && { lfs }) };
      }),
    );
  }
  const content = repo.files[file![4]!];
  if (content === undefined) return refuse(404, 'EntryNotFound');
  if (hub.cdn && content.length >= LARGE_BYTES) {
    response.writeHead(302, { Location: `${hub.cdn}/${file![4]}`, 'X-Linked-Size': content.length });
    return response.end();
  }
  return sendBytes(hub, request, response, hub.damage(Buffer.from(content)));
}

/** Sends a file, or the requested range of it. */
function sendBytes(
  hub: Pick<FakeHub, 'breakAfterBytes'>,
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
): void {
  const range = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '');
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(bytes.length, Number(range?.[2] ?? bytes.length - 1) + 1);
  const part = bytes.subarray(start, end);
  response.writeHead(range ? 206 : 200, {
    ETag: `"${sha('sha1', bytes)}"`,
    'Content-Length': part.length,
    ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` }),
  });
  if (part.length <= hub.breakAfterBytes) response.end(part);
  else response.write(part.subarray(0, hub.breakAfterBytes), () => response.destroy());
}
