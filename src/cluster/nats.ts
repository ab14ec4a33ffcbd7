import { UndriftError } from '../util/errors.ts';

/** Client of NATS: connection, streams, keys and values, objects. */
export interface Nats {
  readonly transport: typeof import('@nats-io/transport-node');
  readonly jetstream: typeof import('@nats-io/jetstream');
  readonly kv: typeof import('@nats-io/kv');
  readonly obj: typeof import('@nats-io/obj');
}

/** Versions that the tests run against. Later ones want Node 22. */
const PACKAGES = ['transport-node', 'jetstream', 'kv', 'obj'].map((name) => `@nats-io/${name}@3.3.1`);

/**
 * Loads the client of NATS on first use. It is an optional peer.
 *
 * @throws UndriftError if it is not installed
 */
export async function loadNats(): Promise<Nats> {
  try {
    const [transport, jetstream, kv, obj] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/jetstream'),
      import('@nats-io/kv'),
      import('@nats-io/obj'),
    ]);
    return { transport, jetstream, kv, obj };
  } catch (cause) {
    throw new UndriftError('a cluster needs the client of NATS, which is not installed', {
      help: `install it beside undrift: npm install ${PACKAGES.join(' ')}`,
      cause,
    });
  }
}
