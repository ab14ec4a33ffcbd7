import { UndriftError } from '../util/errors.ts';

/** Connection to PostgreSQL: a `Client` of the package `pg`, or anything else with this function. */
export interface SqlClient {
  /** Runs one statement, with values for `$1`, `$2`, …. */
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** Connection that is closed when it is no longer needed. */
export interface OwnedSqlClient extends SqlClient {
  /** Closes the connection. */
  end(): Promise<void>;
}

/** Version that the tests run against. */
const PACKAGE = 'pg@8.23.1';
const CONNECT_MS = 15_000;

/**
 * Connects to PostgreSQL.
 *
 * @param shown  address in messages
 * @throws UndriftError if the package `pg` is not installed, or the server cannot be reached
 */
export async function connectPostgres(connection: string, shown: string): Promise<OwnedSqlClient> {
  const { Client } = await importPg();
  const client = new Client({ connectionString: connection, connectionTimeoutMillis: CONNECT_MS });
  // The next query fails and is reported; without a listener, a lost connection would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    throw sqlError(error, shown);
  }
  return {
    query: async (text, values) => {
      try {
        return (await client.query(text, values)) as { rows: unknown[] };
      } catch (error) {
        throw sqlError(error, shown);
      }
    },
    end: () => client.end(),
  };
}

async function importPg(): Promise<Pick<typeof import('pg'), 'Client'>> {
  try {
    const module = await import('pg');
    // A CommonJS package: its exports are those of `default`.
    return module.default ?? module;
  } catch (cause) {
    throw new UndriftError('PostgreSQL needs the package pg, which is not installed', {
      help: `install it beside undrift: npm install ${PACKAGE}`,
      cause,
    });
  }
}

const LOST = 'give the same command again when the server is there: it goes on where it was';

/** Advice by the code of an error: five characters of PostgreSQL, or the name of a system error. */
const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'check host and port, and that the server runs',
  ENOTFOUND: 'check the name of the host',
  ENOENT: 'check the folder of the socket, and that the server runs',
  '28P01': 'give the password by the variable PGPASSWORD or the file ~/.pgpass',
  '28000': 'check user and database, and what the server allows in pg_hba.conf',
  '3D000': 'check the name of the database',
  '42501': 'the user needs SELECT on the table and CREATE on its schema',
  '25006': 'connect to the primary server: this one can only be read',
  '53100': 'make room on the disk of the server, and give the same command again',
  '53300': 'close other connections, or raise max_connections',
  '2BP01': 'other objects depend on this one: remove them, or name another view by view=NAME in the address',
};

/** Makes an error of this package of one of PostgreSQL or of its connection. */
export function sqlError(error: unknown, shown: string): UndriftError {
  if (error instanceof UndriftError) return error;
  const { message, code } = error as { message?: string; code?: string };
  const isLost =
    code === undefined ||
    /^(08|57P0[123]|ECONNRESET|EPIPE|ETIMEDOUT)/.test(code) ||
    /terminat/.test(message ?? '');
  const help = code !== undefined && ADVICE[code] ? ADVICE[code] : isLost ? LOST : undefined;
  const text = message || code || String(error);
  return new UndriftError(`${shown}: ${text}`, { ...(help && { help }), cause: error });
}

/** Quotes an identifier. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Quotes a text, for statements that take no parameters. */
export const literal = (text: string): string =>
  text.includes('\\')
    ? ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;

/** Codes of the errors of a process that creates a table at the same moment as another one. */
const EXISTS = ['23505', '42P07'];

/** Creates a table, unless it exists. */
export async function createTable(client: SqlClient, name: string, columns: string): Promise<void> {
  try {
    await client.query(`CREATE TABLE IF NOT EXISTS ${name} (${columns})`);
  } catch (error) {
    if (!EXISTS.includes(codeOf(error) ?? '')) throw error;
  }
}

/** Code of an error of PostgreSQL, which may be the cause of one of ours. */
export const codeOf = (error: unknown): string | undefined =>
  (error as { code?: string }).code ?? (error as { cause?: { code?: string } }).cause?.code;
