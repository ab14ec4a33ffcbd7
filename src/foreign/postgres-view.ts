import { UsageError } from '../util/errors.ts';
import { rowsOf, type UserTable } from './postgres-table.ts';
import { codeOf, literal, quoted, type SqlClient } from './sql-client.ts';

/** Comment by which a view is known as one of ours. */
const MARK = 'Current vectors, by undrift migrate';
/** Columns of a view cannot change their type. */
const OTHER_COLUMNS = '42P16';

/**
 * Makes or replaces the view of all rows with the vectors of one space. It has the columns of the table, with these vectors in place of
 * the original ones, and `undrift_space`, `undrift_step` and `undrift_corrected`. Rows without a vector of the space are not in it.
 *
 * The statements belong into a transaction of the caller.
 *
 * @param of.vectors  table of the vectors, quoted; undefined: the original ones
 * @throws UsageError if there is something else of the name of the view
 */
export async function showVectors(
  client: SqlClient,
  { schema, table, id, vector, columns }: UserTable,
  {
    view,
    space,
    vectors,
    shown,
  }: { view: string; space: string; vectors: string | undefined; shown: string },
): Promise<void> {
  const name = `${quoted(schema)}.${quoted(view)}`;
  const [present] = await rowsOf<{ kind: string; mark: string | null }>(
    client,
    `SELECT relkind AS kind, obj_description(oid, 'pg_class') AS mark FROM pg_class WHERE oid = to_regclass($1)`,
    [name],
  );
  if (present && present.mark !== MARK) {
    throw new UsageError(`${shown}: there is a table or a view "${view}" already`, {
      help: 'name another view in the address: view=NAME, or view= for none',
    });
  }
  const vectorName = vector?.name ?? 'embedding';
  const shownVector = (column: string) => `${column} AS ${quoted(vectorName)}`;
  const parts = columns.map((column) =>
    column.name !== vectorName
      ? `p.${quoted(column.name)}`
      : shownVector(vectors === undefined ? `p.${quoted(vectorName)}` : 'v.embedding'),
  );
  if (!columns.some((column) => column.name === vectorName)) parts.push(shownVector('v.embedding'));
  parts.push(`${literal(space)}::text AS undrift_space`);
  parts.push(`${vectors === undefined ? '0' : 'v.step'} AS undrift_step`);
  parts.push(`${vectors === undefined ? 'false' : 'v.corrected'} AS undrift_corrected`);
  const rows = `${quoted(schema)}.${quoted(table)} p`;
  const source =
    vectors === undefined
      ? `${rows} WHERE p.${quoted(vectorName)} IS NOT NULL`
      : `${rows} JOIN ${vectors} v ON v.id = p.${quoted(id.name)}`;
  const select = `SELECT ${parts.join(', ')} FROM ${source}`;
  await client.query('SAVEPOINT undrift_view');
  try {
    await client.query(`CREATE OR REPLACE VIEW ${name} AS ${select}`);
  } catch (error) {
    // Another dimension is another type.
    if (codeOf(error) !== OTHER_COLUMNS) throw error;
    await client.query('ROLLBACK TO SAVEPOINT undrift_view');
    await client.query(`DROP VIEW ${name}`);
    await client.query(`CREATE VIEW ${name} AS ${select}`);
  }
  await client.query(`COMMENT ON VIEW ${name} IS ${literal(MARK)}`);
}
