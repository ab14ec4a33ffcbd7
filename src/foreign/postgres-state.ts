import { checkFormat } from '../util/check-format.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { rowsOf, type UserTable } from './postgres-table.ts';
import { createTable, quoted, type SqlClient } from './sql-client.ts';
import type { VectorStoreState } from './vector-store.ts';

const STATE_TABLE = 'undrift_state';
const STATE_FORMAT = 1;

/** Columns and view that the vectors of a table depend on. */
interface Names {
  readonly id: string;
  readonly text: string;
  readonly title: string | null;
  readonly vector: string | null;
  readonly view: string;
}

const stateTable = ({ schema }: UserTable): string => `${quoted(schema)}.${quoted(STATE_TABLE)}`;

const namesOf = ({ id, text, title, vector }: UserTable, view: string): Names => ({
  id: id.name,
  text: text.name,
  title: title?.name ?? null,
  vector: vector?.name ?? null,
  view,
});

/**
 * Reads the state of a table; null if there is none.
 *
 * @throws UsageError if it was written with other columns, of which vectors would be other ones
 */
export async function readStoredState(
  client: SqlClient,
  table: UserTable,
  view: string,
  shown: string,
): Promise<VectorStoreState | null> {
  const name = stateTable(table);
  const [exists] = await rowsOf(client, 'SELECT FROM pg_class WHERE oid = to_regclass($1)', [name]);
  if (!exists) return null;
  const [found] = await rowsOf<{ revision: number; format: number; state: string }>(
    client,
    `SELECT revision, format, state::text AS state FROM ${name} WHERE name = $1`,
    [table.table],
  );
  if (!found) return null;
  checkFormat('the state', found.format, { reads: STATE_FORMAT, file: shown });
  const { names: before, ...state } = JSON.parse(found.state) as VectorStoreState & { names: Names };
  const names = namesOf(table, view);
  for (const key of Object.keys(names) as (keyof Names)[]) {
    if (before[key] === names[key]) continue;
    const text = (value: string | null) => (value === null ? `no ${key}=` : `${key}=${value}`);
    throw new UsageError(
      `${shown}: vectors were written with ${text(before[key])}, the address has ${text(names[key])}`,
      { help: `give ${text(before[key])} in the address` },
    );
  }
  return { ...state, revision: found.revision };
}

/**
 * Replaces the state of a table, in one transaction with what shows it.
 *
 * @param by.show  lets searches of the database see the current vectors
 * @throws UndriftError if another process has replaced it meanwhile
 */
export async function writeStoredState(
  client: SqlClient,
  table: UserTable,
  { revision, ...state }: VectorStoreState,
  { view, shown, show }: { view: string; shown: string; show: () => Promise<void> },
): Promise<void> {
  const name = stateTable(table);
  await createTable(
    client,
    name,
    'name text PRIMARY KEY, revision integer NOT NULL, format integer NOT NULL, state json NOT NULL',
  );
  await client.query('BEGIN');
  try {
    const written = await rowsOf(
      client,
      `INSERT INTO ${name} AS old (name, revision, format, state)
       SELECT $1, $2::int, ${STATE_FORMAT}, $3::json WHERE $2::int = 1 OR EXISTS (SELECT FROM ${name} WHERE name = $1)
       ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, format = excluded.format, state = excluded.state
       WHERE old.revision = excluded.revision - 1 RETURNING revision`,
      [table.table, revision, JSON.stringify({ names: namesOf(table, view), ...state })],
    );
    if (written.length === 0) {
      throw new UndriftError(`another process has changed the migration of ${shown} meanwhile`, {
        help: 'look at undrift status, and give the command again',
      });
    }
    await show();
    await client.query('COMMIT');
  } catch (error) {
    // After a lost connection the server has rolled back by itself.
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}
