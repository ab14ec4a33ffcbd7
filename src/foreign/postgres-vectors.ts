import { createHash } from 'node:crypto';
import type { StoredSpace } from '../store/store-head.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { PostgresNames } from './postgres-address.ts';
import { parsePostgresAddress } from './postgres-address.ts';
import { readStoredState, writeStoredState } from './postgres-state.ts';
import {
  findTable,
  parseVector,
  rowsOf,
  type UserTable,
  vectorColumnType,
  vectorText,
} from './postgres-table.ts';
import { showVectors } from './postgres-view.ts';
import { connectPostgres, createTable, type OwnedSqlClient, quoted, type SqlClient } from './sql-client.ts';
import { placeOf } from './store-state.ts';
import {
  ORIGINAL,
  type ReadRequest,
  type VectorRow,
  type VectorStore,
  type VectorStoreFacts,
  type VectorStoreState,
  type WrittenVector,
} from './vector-store.ts';

/** Length of an identifier of PostgreSQL, in bytes. */
const LONGEST_NAME = 63;
const SPACE_ID = /^[0-9a-f]{16}$/;

/** Row that was found by its vector. */
export interface PostgresHit {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  /** Inner product with the query. */
  readonly score: number;
  /** Whether the vector was moved from another space by a corrector. */
  readonly corrected: boolean;
}

/**
 * Table of PostgreSQL as a {@link VectorStore}.
 *
 * Vectors of each space are written to a table of their own, `undrift_TABLE_SPACE`, beside the table of the rows, and the state to
 * `undrift_state`. The table of the rows is never changed. A view, `TABLE_current`, has all its columns, with the vectors of the
 * current space in place of the original ones.
 */
export class PostgresVectors implements VectorStore {
  /** Address without password. */
  readonly name: string;
  private readonly client: SqlClient;
  private readonly from: UserTable;
  private readonly viewName: string;
  /** First bytes of the names of tables of vectors. */
  private readonly prefix: string;
  /** Statement that is running; others wait for it. */
  private running: Promise<unknown> = Promise.resolve();

  private constructor(client: SqlClient, from: UserTable, names: PostgresNames, name: string) {
    this.client = client;
    this.from = from;
    this.name = name;
    this.viewName = names.view ?? shortName(`${names.table}_current`);
    this.prefix = tablePrefix(names.table);
  }

  /**
   * Opens a table by its address, `postgres://user@host/db?table=passages`. Parameters of the address name columns: see
   * {@link PostgresNames}.
   *
   * @throws UsageError if the address or its names are wrong
   * @throws UndriftError if the server cannot be reached
   */
  static async connect(address: string): Promise<PostgresVectors & { close(): Promise<void> }> {
    const { connection, names, shown } = parsePostgresAddress(address);
    const client: OwnedSqlClient = await connectPostgres(connection, shown);
    try {
      const store = await PostgresVectors.open(client, names, shown);
      return Object.assign(store, { close: () => client.end() });
    } catch (error) {
      await client.end();
      throw error;
    }
  }

  /**
   * Opens a table over a connection of yours, which nobody else should use meanwhile.
   *
   * @param name  name in messages
   */
  static async open(
    client: SqlClient,
    names: PostgresNames,
    name = `table ${names.table}`,
  ): Promise<PostgresVectors> {
    return new PostgresVectors(client, await findTable(client, names, name), names, name);
  }

  async describe(): Promise<VectorStoreFacts> {
    const { vector } = this.from;
    const [counts] = await this.rows<{ rows: string; vectors: string }>(
      `SELECT count(*) AS rows, ${vector ? `count(${quoted(vector.name)})` : '0'} AS vectors FROM ${this.table}`,
    );
    const spaces = [];
    for (const id of await this.writtenSpaces()) {
      const [found] = await this.rows<{ rows: string; corrected: string }>(
        `SELECT count(*) AS rows, count(*) FILTER (WHERE v.corrected) AS corrected
         FROM ${this.table} p JOIN ${this.place(id)} v ON v.id = ${this.id} AND v.version = ${this.version}`,
      );
      spaces.push({ id, rows: Number(found!.rows), corrected: Number(found!.corrected) });
    }
    const rows = Number(counts!.vectors);
    const original = vector && rows > 0 ? { dimension: await this.dimension(), rows } : null;
    return { rows: Number(counts!.rows), original, spaces };
  }

  async read({ space, texts, after, limit, ids, lacking }: ReadRequest): Promise<VectorRow[]> {
    const values: unknown[] = [];
    const value = (given: unknown) => `$${values.push(given)}`;
    const { id, title, text, vector } = this.from;
    const written = await this.writtenSpaces();
    const columns = [`${this.id}::text AS id`, `${this.version} AS version`];
    const joins: string[] = [];
    const conditions: string[] = [];
    const fits = (alias: string, of: string) =>
      `LEFT JOIN ${this.place(of)} ${alias} ON ${alias}.id = ${this.id} AND ${alias}.version = ${this.version}`;
    if (texts) {
      columns.push(`p.${quoted(text.name)}::text AS text`);
      if (title) columns.push(`p.${quoted(title.name)}::text AS title`);
    }
    if (space === ORIGINAL) {
      if (!vector) throw new UsageError(`${this.name} has no column of vectors`);
      columns.push(`p.${quoted(vector.name)}::real[]::text AS vector`);
    } else if (space !== null && written.includes(space)) {
      joins.push(fits('v', space));
      columns.push('v.embedding::real[]::text AS vector, v.step, v.corrected');
      columns.push(`(extract(epoch FROM v.made) * 1000)::float8 AS time`);
    }
    if (lacking && written.includes(lacking.space)) {
      joins.push(fits('l', lacking.space));
      conditions.push(lacking.what === 'vector' ? 'l.id IS NULL' : '(l.id IS NULL OR l.corrected)');
    }
    if (after !== null) conditions.push(`${this.id} > ${value(after)}::text::${id.type}`);
    if (ids) conditions.push(`${this.id} = ANY(${value(ids)}::text[]::${id.type}[])`);
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    const found = await this.rows<Record<string, unknown>>(
      `SELECT ${columns.join(', ')} FROM ${this.table} p ${joins.join(' ')} ${where}
       ORDER BY ${this.id} LIMIT ${value(limit)}::int`,
      values,
    );
    return found.map((row) => this.rowOf(row));
  }

  async write({ id, dimension }: StoredSpace, vectors: readonly WrittenVector[]): Promise<void> {
    if (!SPACE_ID.test(id)) throw new UsageError(`"${id}" is not the id of an embedding space`);
    const { vectorType } = this.from;
    const wrong = vectors.find(({ values }) => values.length !== dimension);
    if (wrong) {
      throw new DataError(`the vector has ${wrong.values.length} dimensions, the space has ${dimension}`, {
        file: this.name,
      });
    }
    const type = vectorColumnType(vectorType, dimension);
    await this.alone(async () => {
      await createTable(
        this.client,
        this.place(id),
        `id ${this.from.id.declared} PRIMARY KEY, embedding ${type} NOT NULL,
         step integer NOT NULL, corrected boolean NOT NULL, version text NOT NULL, made timestamptz NOT NULL`,
      );
      if (vectors.length === 0) return;
      await this.client.query(
        `INSERT INTO ${this.place(id)} AS old (id, embedding, step, corrected, version, made)
         SELECT n.id::${this.from.id.type}, n.vector::${type}, n.step, n.corrected, n.version, to_timestamp(n.time / 1000)
         FROM unnest($1::text[], $2::text[], $3::int[], $4::bool[], $5::text[], $6::float8[])
           AS n(id, vector, step, corrected, version, time)
         WHERE EXISTS (SELECT FROM ${this.table} p WHERE ${this.id} = n.id::${this.from.id.type})
         ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, step = excluded.step,
           corrected = excluded.corrected, version = excluded.version, made = excluded.made
         WHERE old.corrected OR NOT excluded.corrected OR old.version <> excluded.version`,
        [
          vectors.map((each) => each.id),
          vectors.map(({ values }) => vectorText(vectorType, values)),
          vectors.map(({ step }) => step),
          vectors.map(({ corrected }) => corrected),
          vectors.map(({ version }) => version),
          vectors.map(({ time }) => time),
        ],
      );
    });
  }

  async drop(space: string): Promise<void> {
    if (!SPACE_ID.test(space)) return;
    await this.alone(() => this.client.query(`DROP TABLE IF EXISTS ${this.place(space)}`));
  }

  async readState(): Promise<VectorStoreState | null> {
    return await this.alone(() => readStoredState(this.client, this.from, this.viewName, this.name));
  }

  async writeState(state: VectorStoreState): Promise<void> {
    const show = async () => {
      const { current } = state;
      if (this.viewName === '' || current === null) return;
      await showVectors(this.client, this.from, {
        view: this.viewName,
        space: current,
        vectors: placeOf(state, current) === ORIGINAL ? undefined : this.place(current),
        shown: this.name,
      });
    };
    const by = { view: this.viewName, shown: this.name, show };
    await this.alone(() => writeStoredState(this.client, this.from, state, by));
  }

  /**
   * Finds the rows whose vectors of a space have the largest inner product with a query, exactly or by an index of pgvector.
   *
   * @param query  f32[D], of unit norm
   */
  async search(space: string, query: Float32Array, k: number): Promise<PostgresHit[]> {
    const { vectorType, title, text } = this.from;
    const isOriginal = space === ORIGINAL;
    const vector = isOriginal ? `p.${quoted(this.from.vector!.name)}` : 'v.embedding';
    const given = `$1::${vectorColumnType(vectorType, query.length)}`;
    const product = vectorType.isPgvector
      ? `-(${vector} OPERATOR(${quoted(vectorType.schema)}.<#>) ${given})`
      : `(SELECT sum(a * b) FROM unnest(${vector}, ${given}) AS pair(a, b))`;
    const order = vectorType.isPgvector
      ? `${vector} OPERATOR(${quoted(vectorType.schema)}.<#>) ${given}`
      : 'score DESC';
    return await this.rows<PostgresHit>(
      `SELECT ${this.id}::text AS id, ${title ? `coalesce(p.${quoted(title.name)}::text, '')` : "''"} AS title,
         coalesce(p.${quoted(text.name)}::text, '') AS text, (${product})::float8 AS score,
         ${isOriginal ? 'false' : 'v.corrected'} AS corrected
       FROM ${this.table} p ${isOriginal ? '' : `JOIN ${this.place(space)} v ON v.id = ${this.id}`}
       ${isOriginal ? `WHERE ${vector} IS NOT NULL` : ''}
       ORDER BY ${order} LIMIT $2::int`,
      [vectorText(vectorType, query), k],
    );
  }

  /** Name of the view with the current vectors; undefined if there is none. */
  get view(): string | undefined {
    return this.viewName === '' ? undefined : this.viewName;
  }

  /** Table of the vectors of a space, as a quoted name. */
  place(space: string): string {
    return `${quoted(this.from.schema)}.${quoted(`${this.prefix}${space}`)}`;
  }

  private get table(): string {
    return `${quoted(this.from.schema)}.${quoted(this.from.table)}`;
  }

  private get id(): string {
    return `p.${quoted(this.from.id.name)}`;
  }

  /** Digest of title and text of a row. */
  private get version(): string {
    const { title, text } = this.from;
    const part = (name: string) => `coalesce(p.${quoted(name)}::text, '')`;
    const all = title ? `${part(title.name)} || chr(10) || ${part(text.name)}` : part(text.name);
    return `encode(substr(sha256(convert_to(${all}, 'UTF8')), 1, 12), 'hex')`;
  }

  /** Embedding size of the original vectors. */
  private async dimension(): Promise<number> {
    const { name, modifier, bare } = this.from.vector!;
    if (modifier > 0 && !bare.startsWith('_')) return modifier;
    const [first] = await this.rows<{ dimension: number | null }>(
      `SELECT cardinality(${quoted(name)}::real[]) AS dimension FROM ${this.table} WHERE ${quoted(name)} IS NOT NULL LIMIT 1`,
    );
    return first?.dimension ?? 0;
  }

  private async writtenSpaces(): Promise<string[]> {
    const found = await this.rows<{ id: string }>(
      `SELECT substr(relname, length($1) + 1) AS id FROM pg_class
       WHERE relnamespace = to_regnamespace($2) AND relkind IN ('r', 'p') AND starts_with(relname, $1) ORDER BY 1`,
      [this.prefix, quoted(this.from.schema)],
    );
    return found.map(({ id }) => id).filter((id) => SPACE_ID.test(id));
  }

  private rowOf({
    id,
    version,
    title,
    text,
    vector,
    step,
    corrected,
    time,
  }: Record<string, unknown>): VectorRow {
    const hasVector = vector !== undefined && vector !== null;
    return {
      id: id as string,
      version: version as string,
      title: (title as string | null | undefined) ?? '',
      text: (text as string | null | undefined) ?? null,
      vector: hasVector
        ? {
            values: parseVector(vector as string, this.name),
            step: (step as number | undefined) ?? 0,
            time: Math.round((time as number | undefined) ?? 0),
            corrected: (corrected as boolean | undefined) ?? false,
          }
        : null,
    };
  }

  private rows<T>(text: string, values: unknown[] = []): Promise<T[]> {
    return this.alone(() => rowsOf<T>(this.client, text, values));
  }

  /** Waits for what runs over the connection, so that a transaction has no statements of others in it. */
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.running.then(work);
    this.running = result.catch(() => {});
    return await result;
  }
}

/** First part of the names of tables of vectors; the id of a space follows. */
function tablePrefix(table: string): string {
  const prefix = `undrift_${table}_`;
  if (Buffer.byteLength(prefix) + 16 <= LONGEST_NAME) return prefix;
  const digest = createHash('sha256').update(table).digest('hex').slice(0, 8);
  return `undrift_${digest}_`;
}

/** Shortens a name to what PostgreSQL keeps of it. */
function shortName(name: string): string {
  if (Buffer.byteLength(name) <= LONGEST_NAME) return name;
  return `undrift_${createHash('sha256').update(name).digest('hex').slice(0, 8)}_current`;
}
