import { UsageError } from '../util/errors.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Options that say how a server is reached, besides its address. */
export const CONNECTION_OPTIONS = {
  /** Credentials file of NATS (nkeys). Default: UNDRIFT_NATS_CREDS. */
  natsCreds: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'credentials file of NATS (nkeys); else the variable UNDRIFT_NATS_CREDS names it',
  },
  /** Certificates that the server's is checked by. Default: UNDRIFT_NATS_CA, or those of the system. */
  natsCa: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'certificate authority of the server (PEM); else the variable UNDRIFT_NATS_CA names it',
  },
  /** Copies of streams and buckets. Default: 3 on a cluster of servers, else 1. */
  natsReplicas: {
    type: 'integer',
    min: 1,
    max: 5,
    defaultHelp: '3 on several servers, else 1',
    help: 'copies of what the server keeps, where it is not there yet',
  },
} as const satisfies OptionTable;

/** Values of {@link CONNECTION_OPTIONS}. */
export interface ConnectionSettings {
  readonly natsCreds?: string | undefined;
  readonly natsCa?: string | undefined;
  readonly natsReplicas?: number | undefined;
}

/** Address of a cluster, and what is needed to connect. */
export interface ClusterAddress {
  /** Servers as `host:port`. */
  readonly servers: readonly string[];
  /** Name space of the cluster, which several clusters on one server differ by. */
  readonly name: string;
  /** Whether the connection must be encrypted. */
  readonly tls: boolean;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** Credentials file. */
  readonly creds?: string | undefined;
  /** File of certificates. */
  readonly ca?: string | undefined;
  /** Address in messages: without user and password. */
  readonly shown: string;
}

const DEFAULT_NAME = 'undrift';
const DEFAULT_PORT = 4222;
const EXAMPLE = 'nats://host:4222/NAME, or tls://host1,host2/NAME';

/** Words that name shards and clusters: each is one token of a subject. */
export const NAME_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

/** Tells whether a text is an address of a cluster. */
export const isClusterAddress = (text: string): boolean => /^(nats|tls):\/\//i.test(text);

/**
 * Parses an address such as `nats://user:password@host:4222,nats://host2:4222/NAME`. User and password may stand in the variables
 * UNDRIFT_NATS_USER and UNDRIFT_NATS_PASSWORD instead.
 *
 * @throws UsageError for anything else
 */
export function parseClusterAddress(text: string, settings: ConnectionSettings = {}): ClusterAddress {
  // Further servers may have the scheme, too.
  const match = /^(nats|tls):\/\/(?:([^@/]*)@)?([^@/]*)(?:\/([^/]*))?$/i.exec(
    text.replaceAll(/,(nats|tls):\/\//gi, ','),
  );
  // The text may hold a password, so that messages do not quote it.
  if (!match || match[3] === '')
    throw new UsageError('the address of the cluster is not one of NATS', { help: `use ${EXAMPLE}` });
  const [, scheme = '', login, hosts = '', name = ''] = match;
  const servers = hosts.split(',').map(serverOf);
  if (name !== '' && !NAME_PATTERN.test(name)) {
    throw new UsageError(`the name of a cluster has letters, digits, - and _, found '${name}'`, {
      help: `use ${EXAMPLE}`,
    });
  }
  const { UNDRIFT_NATS_USER, UNDRIFT_NATS_PASSWORD, UNDRIFT_NATS_CREDS, UNDRIFT_NATS_CA } = process.env;
  const { user = UNDRIFT_NATS_USER, password = UNDRIFT_NATS_PASSWORD } = loginOf(login);
  const creds = settings.natsCreds ?? UNDRIFT_NATS_CREDS;
  const tls = scheme.toLowerCase() === 'tls';
  const named = name === '' ? DEFAULT_NAME : name;
  return {
    servers,
    name: named,
    tls,
    user: user || undefined,
    password: password || undefined,
    creds: creds || undefined,
    ca: settings.natsCa || UNDRIFT_NATS_CA || undefined,
    shown: `${tls ? 'tls' : 'nats'}://${servers.join(',')}/${named}`,
  };
}

function serverOf(host: string): string {
  const match = /^(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/i.exec(host);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (!match || port < 1 || port > 65_535) {
    throw new UsageError(`'${host}' in the address of the cluster is not a host with a port`, {
      help: `use ${EXAMPLE}`,
    });
  }
  return `${match[1]}:${port}`;
}

/** Splits `user:password`, in which other characters than letters and digits may be percent-encoded. */
function loginOf(login: string | undefined): { user?: string; password?: string } {
  if (login === undefined) return {};
  const colon = login.indexOf(':');
  const [user, password] = colon < 0 ? [login] : [login.slice(0, colon), login.slice(colon + 1)];
  try {
    return {
      user: decodeURIComponent(user!),
      ...(password !== undefined && { password: decodeURIComponent(password) }),
    };
  } catch {
    throw new UsageError('user or password in the address of the cluster has a % that encodes nothing', {
      help: 'write % as %25',
    });
  }
}
