import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { f32Text } from '../util/f32-text.ts';
import { didYouMean } from '../util/nearest.ts';
import type { PostgresNames } from './postgres-address.ts';
import { quoted, type SqlClient } from './sql-client.ts';

/** Column of a table. */
interface Column {
  readonly name: string;
  /** Type as it is written in SQL, with schema where it is needed, without modifier. */
  readonly type: string;
  /** Type with modifier and collation, to make a column like this one. */
  readonly declared: string;
  /** Name of the type without schema. */
  readonly bare: string;
  /** Modifier of the type: the dimension of a vector, or −1. */
  readonly modifier: number;
  /** Schema of the type, for its operators. */
  readonly typeSchema: string;
  /** Whether the column alone is unique and never null. */
  readonly isKey: boolean;
  /** Whether the column is the whole primary key. */
  readonly isPrimary: boolean;
}

/** Type of the columns of vectors. */
export interface VectorType {
  /** Type as it is written in SQL. */
  readonly type: string;
  /** Whether it is one of the extension pgvector, with operators of distance. */
  readonly isPgvector: boolean;
  /** Schema of the type. */
  readonly schema: string;
}

/** Table of a user with the columns that matter here. */
export interface UserTable {
  readonly schema: string;
  readonly table: string;
  readonly id: Column;
  readonly text: Column;
  readonly title: Column | undefined;
  readonly vector: Column | undefined;
  /** All columns, in their order. */
  readonly columns: readonly Column[];
  /** Type for vectors that are written: that of the original ones; else `vector` where pgvector is installed, else `real[]`. */
  readonly vectorType: VectorType;
}

/** Types of vectors by the names of the catalogue. */
const VECTOR_TYPES = ['vector', 'halfvec', '_float4', '_float8'];
const OLDEST_SERVER = 120_000;

/**
 * Looks a table up in the catalogue of the database.
 *
 * @throws UsageError if table or columns do not exist, cannot serve, or have to be named
 */
export async function findTable(client: SqlClient, names: PostgresNames, shown: string): Promise<UserTable> {
  const [server] = await rowsOf<{ version: number }>(
    client,
    `SELECT current_setting('server_version_num')::int AS version, set_config('extra_float_digits', '1', false)`,
  );
  if (server!.version < OLDEST_SERVER) {
    throw new UndriftError(`${shown}: the server is older than PostgreSQL 12`, { help: 'update the server' });
  }
  const wanted =
    names.schema === undefined ? quoted(names.table) : `${quoted(names.schema)}.${quoted(names.table)}`;
  const [found] = await rowsOf<{ oid: number; schema: string; kind: string }>(
    client,
    `SELECT c.oid::int8::text AS oid, n.nspname AS schema, c.relkind AS kind
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
    [wanted],
  );
  if (!found) {
    const tables = await rowsOf<{ name: string }>(
      client,
      `SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid)
       AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1 LIMIT 100`,
    );
    const known = tables.map(({ name }) => name);
    throw new UsageError(`${shown}: there is no table ${wanted}.${didYouMean(names.table, known)}`, {
      help: `tables in sight: ${known.slice(0, 10).join(', ') || 'none'}; table= and schema= in the address name another`,
    });
  }
  if (!['r', 'p'].includes(found.kind)) {
    throw new UsageError(`${shown}: ${wanted} is a view or an index, not a table`, {
      help: 'name the table that the rows are in: table=NAME',
    });
  }
  const columns = await columnsOf(client, found.oid);
  const column = (name: string, by: string): Column => {
    const match = columns.find((each) => each.name === name);
    if (match) return match;
    const all = columns.map((each) => each.name);
    throw new UsageError(`${shown}: the table has no column "${name}".${didYouMean(name, all)}`, {
      help: `name one of ${all.join(', ')} in the address: ${by}=NAME`,
    });
  };
  const vector = vectorColumn(columns, names, column, shown);
  return {
    schema: found.schema,
    table: names.table,
    id: keyColumn(columns, names, column, shown),
    text: column(names.text ?? 'text', 'text'),
    title: names.title === undefined ? undefined : column(names.title, 'title'),
    vector,
    columns,
    vectorType: vector
      ? { type: vector.type, isPgvector: !vector.bare.startsWith('_'), schema: vector.typeSchema }
      : await bestVectorType(client),
  };
}

/** Runs a statement and returns its rows. */
export const rowsOf = async <T>(client: SqlClient, text: string, values: unknown[] = []): Promise<T[]> =>
  (await client.query(text, values)).rows as T[];

async function columnsOf(client: SqlClient, oid: number): Promise<Column[]> {
  return await rowsOf<Column>(
    client,
    `SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, t.typname AS bare, a.atttypmod AS modifier,
       tn.nspname AS "typeSchema",
       format_type(a.atttypid, a.atttypmod) ||
         coalesce(' COLLATE ' || quote_ident(cn.nspname) || '.' || quote_ident(c.collname), '') AS declared,
       a.attnotnull AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
         AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS "isKey",
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary
         AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS "isPrimary"
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
       LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
     WHERE a.attrelid = $1::text::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [String(oid)],
  );
}

function keyColumn(
  columns: readonly Column[],
  { id, table }: PostgresNames,
  column: (name: string, by: string) => Column,
  shown: string,
): Column {
  const key = id === undefined ? columns.find(({ isPrimary }) => isPrimary) : column(id, 'id');
  if (!key) {
    throw new UsageError(`${shown}: the table has no primary key of one column`, {
      help: 'name a column of unique ids in the address: id=NAME',
    });
  }
  if (key.isKey) return key;
  throw new UsageError(`${shown}: the column "${key.name}" may hold null or an id twice`, {
    help: `make it unique: ALTER TABLE ${quoted(table)} ADD PRIMARY KEY (${quoted(key.name)})`,
  });
}

function vectorColumn(
  columns: readonly Column[],
  { vector }: PostgresNames,
  column: (name: string, by: string) => Column,
  shown: string,
): Column | undefined {
  const possible = columns.filter(({ bare }) => VECTOR_TYPES.includes(bare));
  if (vector !== undefined) {
    const named = column(vector, 'vector');
    if (possible.includes(named)) return named;
    throw new UsageError(
      `${shown}: the column "${vector}" is of type ${named.type}, which holds no vectors`,
      {
        help: 'types of vectors are vector and halfvec of pgvector, real[] and double precision[]',
      },
    );
  }
  if (possible.length < 2) return possible[0];
  throw new UsageError(
    `${shown}: the table has ${possible.length} columns of vectors: ${possible.map(({ name }) => name).join(', ')}`,
    { help: 'name one in the address: vector=NAME' },
  );
}

async function bestVectorType(client: SqlClient): Promise<VectorType> {
  const [found] = await rowsOf<{ type: string; schema: string }>(
    client,
    `SELECT format_type(t.oid, NULL) AS type, n.nspname AS schema FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
     JOIN pg_depend d ON d.objid = t.oid AND d.classid = 'pg_type'::regclass AND d.deptype = 'e'
     JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE t.typname = 'vector' AND e.extname = 'vector'`,
  );
  return found ? { ...found, isPgvector: true } : { type: 'real[]', isPgvector: false, schema: 'pg_catalog' };
}

/** Type of a column for vectors of a dimension. */
export const vectorColumnType = ({ type, isPgvector }: VectorType, dimension: number): string =>
  isPgvector ? `${type}(${dimension})` : type;

/** Formats a vector as a text that PostgreSQL reads as the same f32 numbers. */
export function vectorText({ isPgvector }: VectorType, values: Float32Array): string {
  const numbers = Array.from(values, f32Text).join(',');
  return isPgvector ? `[${numbers}]` : `{${numbers}}`;
}

/** Parses an array of numbers as PostgreSQL writes it. Elements that are null become NaN. */
export function parseVector(text: string, shown: string): Float32Array {
  if (!/^\{[^{}]*\}$/.test(text)) {
    throw new DataError(`a vector is not one row of numbers: ${text.slice(0, 60)}`, {
      file: shown,
      help: 'arrays of several dimensions are no vectors',
    });
  }
  const inner = text.slice(1, -1);
  return inner === '' ? new Float32Array() : Float32Array.from(inner.split(','), Number);
}
