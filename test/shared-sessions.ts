import { createHash } from 'node:crypto';
import { InferenceSession } from 'onnxruntime-node';

/** Sessions that are kept. Each may hold some megabytes. */
const KEPT = 64;
/** Largest model whose session is kept, in bytes. */
const LARGEST = 2 ** 20;

const sessions = new Map<string, Promise<InferenceSession>>();
const create = InferenceSession.create as (...args: unknown[]) => Promise<InferenceSession>;

/**
 * Lets programs of equal bytes and settings share a session of onnxruntime on the CPU. Tests train the same toy models again and
 * again, and a third of their time went into compiling the same graphs. A session has no state: weights are inputs.
 */
export function shareSessions(): void {
  InferenceSession.create = async (...args: unknown[]) => {
    const [model, options] = args as [unknown, InferenceSession.SessionOptions | undefined];
    const isOnCpu = options?.executionProviders?.every((provider) => provider === 'cpu');
    if (!isOnCpu || !(model instanceof Uint8Array) || model.length > LARGEST) return await create(...args);
    const key = `${createHash('sha1').update(model).digest('hex')} ${JSON.stringify(options)}`;
    const session = sessions.get(key) ?? create(...args);
    // The last one is the latest that was asked for.
    sessions.delete(key);
    sessions.set(key, session);
    session.catch(() => sessions.delete(key));
    for (const oldest of sessions.keys()) if (sessions.size > KEPT) sessions.delete(oldest);
    return handle(await session);
  };
}

/** A session of its own to its user: who has released it cannot run it. */
function handle(session: InferenceSession): InferenceSession {
  let isReleased = false;
  const run: InferenceSession['run'] = async (...args: [never]) => {
    if (isReleased) throw new Error('the session has been released');
    return await session.run(...args);
  };
  const release = async () => {
    isReleased = true;
  };
  return Object.create(session, { run: { value: run }, release: { value: release } });
}
