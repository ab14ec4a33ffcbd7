import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';

/** Columns and further names of a table of PostgreSQL, as an address gives them. */
export interface PostgresNames {
  /** Table of the rows. */
  readonly table: string;
  /** Schema of the table. Default: the first one of the search path that has the table. */
  readonly schema?: string | undefined;
  /** Column of the ids. Default: the primary key. */
  readonly id?: string | undefined;
  /** Column of the texts. Default `text`. */
  readonly text?: string | undefined;
  /** Column of the titles, which are put before the texts. Default: none. */
  readonly title?: string | undefined;
  /** Column of the original vectors. Default: the only column of a type of vectors; none if there is none. */
  readonly vector?: string | undefined;
  /** View of all rows with the current vectors. Default `TABLE_current`; none if empty. */
  readonly view?: string | undefined;
}

/** Address of a table of PostgreSQL. */
export interface PostgresAddress {
  /** Connection string without the names. */
  readonly connection: string;
  readonly names: PostgresNames;
  /** Address in messages, without password and parameters of the connection. */
  readonly shown: string;
}

const NAMES = ['table', 'schema', 'id', 'text', 'title', 'vector', 'view'] as const;

/** Parameters of a connection that `pg` understands. */
const CONNECTION_PARAMETERS = [
  'application_name',
  'client_encoding',
  'connect_timeout',
  'connectionTimeoutMillis',
  'fallback_application_name',
  'host',
  'idle_in_transaction_session_timeout',
  'keepalives',
  'lock_timeout',
  'options',
  'password',
  'port',
  'query_timeout',
  'ssl',
  'sslcert',
  'sslkey',
  'sslmode',
  'sslnegotiation',
  'sslrootcert',
  'statement_timeout',
  'user',
  'uselibpqcompat',
];

/** Tells whether the name of a store is an address of PostgreSQL. */
export const isPostgres = (store: string): boolean => /^postgres(ql)?:\/\//i.test(store);

/**
 * Parses an address such as `postgres://user@host/db?table=passages&text=body&vector=embedding`.
 *
 * @throws UsageError for an address without a table, or with an unknown parameter
 */
export function parsePostgresAddress(address: string): PostgresAddress {
  const [base = '', query = ''] = cut(address, '?');
  const parameters = new URLSearchParams(query);
  const names: Record<string, string> = {};
  const connection = new URLSearchParams();
  for (const [key, value] of parameters) {
    if ((NAMES as readonly string[]).includes(key)) {
      if (value === '' && key !== 'view')
        throw new UsageError(`the address has no value for ${key}=`, { help: `give a name: ${key}=NAME` });
      names[key] = value;
    } else if (CONNECTION_PARAMETERS.includes(key)) connection.append(key, value);
    else {
      throw new UsageError(
        `unknown parameter ${key}= in the address of PostgreSQL.${didYouMean(key, [...NAMES, ...CONNECTION_PARAMETERS])}`,
        { help: `names are given by ${NAMES.map((name) => `${name}=`).join(', ')}` },
      );
    }
  }
  const { table } = names;
  const shown = `${withoutPassword(base)}${table === undefined ? '' : `?table=${table}`}`;
  if (table === undefined) {
    throw new UsageError(`the address ${shown} names no table`, {
      help: 'add it to the address: postgres://user@host/database?table=passages',
    });
  }
  const rest = connection.toString();
  return {
    connection: rest === '' ? base : `${base}?${rest}`,
    names: { ...names, table },
    shown,
  };
}

/** Name of a store as it is shown to users: an address of PostgreSQL loses its password, other names stay. */
export function shownStore(store: string): string {
  if (!isPostgres(store)) return store;
  const [base = '', query = ''] = cut(store, '?');
  const shown = query.split('&').filter((part) => part !== '' && !/^(password|sslkey)=/i.test(part));
  return `${withoutPassword(base)}${shown.length === 0 ? '' : `?${shown.join('&')}`}`;
}

function withoutPassword(base: string): string {
  const [scheme = '', rest = ''] = cut(base, '://');
  const [authority = ''] = cut(rest, '/');
  const at = authority.lastIndexOf('@');
  if (at < 0) return base;
  const [user = ''] = cut(authority.slice(0, at), ':');
  return `${scheme}://${user}${authority.slice(at)}${rest.slice(authority.length)}`;
}

function cut(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}
