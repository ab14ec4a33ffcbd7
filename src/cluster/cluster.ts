import { readFile } from 'node:fs/promises';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection, NodeConnectionOptions, TlsOptions } from '@nats-io/transport-node';
import { RuntimeError, type UndriftError, UsageError } from '../util/errors.ts';
import { fileError } from '../util/file-error.ts';
import { type ClusterAddress, type ConnectionSettings, parseClusterAddress } from './cluster-address.ts';
import { type ClusterNames, clusterNames } from './cluster-names.ts';
import { loadNats, type Nats } from './nats.ts';
import { atMost, FAREWELL_MS, unlessAborted } from './waiting.ts';

/** Oldest version of a server that keeps what it acknowledges: earlier ones lose streams for good. */
const LEAST_VERSION = [2, 10] as const;
/** Version from which on no fault is known that concerns clusters. */
const ADVISED_VERSION = [2, 11] as const;

const CONNECT_MS = 10_000;
const PING_MS = 10_000;

/** Settings of {@link connectCluster}. */
export interface ConnectOptions extends ConnectionSettings {
  /** Called with a note, for example about a connection that was lost. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** Longest wait for the first connection, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /**
   * Pause between two signs of life that are asked of the server, in milliseconds; without two of them the connection is made anew. Default
   * 10,000. A worker takes longer, because nothing is read while a pass of its model runs.
   */
  readonly pingMs?: number | undefined;
  /** Ends the wait for the first connection. */
  readonly signal?: AbortSignal | undefined;
}

/** Connection to a cluster. It comes back by itself after an interruption. */
export interface Cluster {
  readonly address: ClusterAddress;
  readonly names: ClusterNames;
  readonly nats: Nats;
  readonly connection: NatsConnection;
  /** Client of the streams. */
  readonly stream: JetStreamClient;
  /** Manager of streams and consumers. */
  readonly manager: JetStreamManager;
  /** Number of copies of streams and buckets that are made: 3 where the server is one of several, else 1. */
  readonly replicas: number;
  /** Most bytes of one message, with its headers. */
  readonly mostBytes: number;
  /** Ends the connection after what is being sent. */
  close(): Promise<void>;
}

/**
 * Connects to a cluster. Streams and buckets are made by `ensureStreams`.
 *
 * @param address  such as `nats://host:4222/NAME`
 * @throws UsageError for an address or a server that cannot be used
 * @throws RuntimeError if the server cannot be reached or refuses the connection
 * @throws the reason of `options.signal` once it is aborted
 * @throws UndriftError if the client of NATS is not installed
 */
export async function connectCluster(address: string, options: ConnectOptions = {}): Promise<Cluster> {
  const parsed = parseClusterAddress(address, options);
  const nats = await loadNats();
  const connection = await connect(nats, parsed, options);
  try {
    checkVersion(connection.info?.version ?? '0', parsed.shown, options.onNote);
    const manager = await unlessAborted(managerOf(nats, connection, parsed.shown), options.signal);
    void watch(connection, parsed.shown, options.onNote);
    return {
      address: parsed,
      names: clusterNames(parsed.name),
      nats,
      connection,
      stream: manager.jetstream(),
      manager,
      replicas: options.natsReplicas ?? (connection.info?.cluster === undefined ? 1 : 3),
      mostBytes: connection.info?.max_payload ?? 1 << 20,
      close: async () => {
        if (connection.isClosed()) return;
        await atMost(FAREWELL_MS, connection.drain());
        await connection.close();
      },
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function connect(
  nats: Nats,
  address: ClusterAddress,
  { timeoutMs = CONNECT_MS, pingMs = PING_MS, signal }: ConnectOptions,
): Promise<NatsConnection> {
  const { transport } = nats;
  const { servers, user, password, creds, ca, tls, shown } = address;
  const options: NodeConnectionOptions = {
    servers: [...servers],
    name: `undrift ${process.pid}`,
    timeout: timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    // A server that restarts may refuse a login for a moment.
    ignoreAuthErrorAbort: true,
    pingInterval: pingMs,
    ...(user !== undefined && { user, pass: password ?? '' }),
    ...(creds !== undefined && { authenticator: transport.credsAuthenticator(await readSecret(creds)) }),
    ...((tls || ca !== undefined) && { tls: await tlsOptions(address) }),
  };
  const connecting = transport.connect(options);
  try {
    return await unlessAborted(connecting, signal);
  } catch (cause) {
    if (signal?.aborted) {
      void connecting.then((late) => late.close()).catch(() => {});
      throw cause;
    }
    throw connectError(nats, shown, cause);
  }
}

/** Settings of an encrypted connection. */
async function tlsOptions({
  ca,
  servers,
}: ClusterAddress): Promise<TlsOptions & Pick<ConnectionOptions, 'checkServerIdentity'>> {
  const hosts = servers.map((server) => server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, ''));
  return {
    ...(ca !== undefined && { ca: await readText(ca) }),
    // The client of NATS checks the name `localhost` where the address has a number, and the first name for all servers of a cluster.
    checkServerIdentity: (_name, certificate) => {
      const problems = hosts.map((host) => checkServerIdentity(host, certificate));
      return problems.includes(undefined) ? undefined : problems[0];
    },
  };
}

function connectError({ transport }: Nats, shown: string, cause: unknown): UndriftError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const isRefused =
    cause instanceof transport.AuthorizationError || /authoriz|authentic|nkey|jwt/i.test(reason);
  const isTls = /certificate|tls|ssl|self.signed/i.test(reason);
  return new RuntimeError(`${shown}: ${isRefused ? 'the server refuses the login' : reason}`, {
    help: isRefused
      ? 'give user and password in the address or in UNDRIFT_NATS_USER and UNDRIFT_NATS_PASSWORD, or a file by --nats-creds'
      : isTls
        ? 'name the certificate authority of the server by --nats-ca'
        : 'check host and port, and that nats-server runs there',
    cause,
  });
}

const readSecret = async (file: string): Promise<Uint8Array> => {
  try {
    return await readFile(file);
  } catch (error) {
    throw fileError(error, file, 'read');
  }
};

const readText = async (file: string): Promise<string> =>
  Buffer.from(await readSecret(file)).toString('utf8');

/** @throws UsageError for a server that is too old */
export function checkVersion(
  version: string,
  shown: string,
  onNote: ((note: string) => void) | undefined,
): void {
  if (isBefore(version, LEAST_VERSION)) {
    throw new UsageError(`${shown}: nats-server ${version} is too old: it can lose streams after a restart`, {
      help: 'install nats-server 2.11 or later',
    });
  }
  if (isBefore(version, ADVISED_VERSION)) {
    onNote?.(`${shown} runs nats-server ${version}: it works, 2.11 or later has fewer faults`);
  }
}

function isBefore(version: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return a < major || (a === major && b < minor);
}

async function managerOf(nats: Nats, connection: NatsConnection, shown: string): Promise<JetStreamManager> {
  const { jetstreamManager } = nats.jetstream;
  try {
    return await jetstreamManager(connection);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RuntimeError(`${shown}: the server has no JetStream: ${reason}`, {
      help: 'start it with jetstream { store_dir: FOLDER, sync_interval: always } in its configuration',
      cause,
    });
  }
}

async function watch(
  connection: NatsConnection,
  shown: string,
  onNote: ((note: string) => void) | undefined,
): Promise<void> {
  let isLost = false;
  for await (const { type } of connection.status()) {
    if (type === 'disconnect' && !isLost && !connection.isClosed()) {
      isLost = true;
      onNote?.(`connection to ${shown} lost, trying again`);
    } else if (type === 'reconnect') {
      isLost = false;
      onNote?.(`connected to ${shown} again`);
    }
  }
}
