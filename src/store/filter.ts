import { UsageError } from '../util/errors.ts';
import { sqlText } from './sql.ts';

/** Value that a field of the metadata is compared with. */
export type FilterValue = string | number | boolean;

/** Condition on one field of the metadata. */
export interface FieldCondition {
  /** Name of the field; names of nested fields are joined by dots. */
  readonly field: string;
  /** Comparison. The order of texts is that of their bytes. `contains` asks for an item of an array. */
  readonly is: '=' | '!=' | '<' | '<=' | '>' | '>=' | 'contains';
  /**
   * Value to compare with. A field that is absent or of another type fulfils no condition but `!=`; a text that is a number, as in
   * CSV, is compared as one.
   */
  readonly value: FilterValue;
}

/** Conditions that must all hold. */
export type MetadataFilter = readonly FieldCondition[];

const SIGNS = ['<=', '>=', '!=', '=', '<', '>', '~'] as const;

/**
 * Reads a condition as it is typed: `year>=2020`, `lang=en`, `tags~draft`. A value that is a number or `true` or `false` is taken
 * as such; quotation marks make it a text.
 *
 * @throws UsageError for a text of another form
 */
export function parseCondition(text: string): FieldCondition {
  const at = text.search(/[<>=!~]/);
  const sign = at === -1 ? undefined : SIGNS.find((known) => text.startsWith(known, at));
  const field = text.slice(0, at).trim();
  const value = sign === undefined ? '' : text.slice(at + sign.length).trim();
  if (sign === undefined || field === '' || value === '') {
    throw new UsageError(`"${text.slice(0, 80)}" is not a condition`, {
      help: 'write field, comparison and value, for example year>=2020, lang=en, tags~draft',
    });
  }
  return { field, is: sign === '~' ? 'contains' : sign, value: literalOf(value) };
}

function literalOf(text: string): FilterValue {
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  if (quoted) return quoted[2]!;
  if (text === 'true' || text === 'false') return text === 'true';
  const number = Number(text);
  return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) && Number.isFinite(number) ? number : text;
}

/** Most conditions of one filter. LanceDB plans thousands for seconds, and its plan is as deep as they are many. */
const MOST_CONDITIONS = 64;

/**
 * Translates a filter into LanceDB's SQL; undefined if it has no condition.
 *
 * @throws UsageError for more than 64 conditions
 */
export function filterSql(filter: MetadataFilter): string | undefined {
  if (filter.length > MOST_CONDITIONS) {
    throw new UsageError(`a filter has at most ${MOST_CONDITIONS} conditions, found ${filter.length}`);
  }
  return filter.length === 0 ? undefined : filter.map(conditionSql).join(' AND ');
}

function conditionSql({ field, is, value }: FieldCondition): string {
  const found = new Field(field);
  if (is === 'contains')
    return found.any((path) => `json_array_contains(metadata, ${path}, ${sqlText(String(value))})`);
  if (is === '!=') return `NOT ${conditionSql({ field, is: '=', value })}`;
  // Tables of texts, such as CSV, hold numbers and truth values as texts.
  const plain = `btrim(${found.json}, '"')`;
  if (typeof value === 'number') return holds(`TRY_CAST(${plain} AS DOUBLE) ${is} ${value}`);
  if (typeof value === 'boolean') return holds(`${plain} ${is} ${sqlText(String(value))}`);
  if (is === '=') return holds(`${found.json} = ${sqlText(JSON.stringify(value))}`);
  return holds(`starts_with(${found.json}, '"') AND ${found.text} ${is} ${sqlText(value)}`);
}

const holds = (condition: string): string => `coalesce(${condition}, false)`;

/** Field of the metadata in LanceDB's SQL. A name with dots is that of a field, or of one in fields. */
class Field {
  private readonly ways: readonly (readonly string[])[];

  constructor(name: string) {
    this.ways = name.includes('.') ? [[name], name.split('.')] : [[name]];
  }

  /** Value as JSON; null where there is none. */
  get json(): string {
    return this.first(this.paths.map((path) => `json_extract(metadata, ${path})`));
  }

  /** Value as text without quotation marks and escapes. */
  get text(): string {
    return this.first(
      this.ways.map((names) => {
        const inside = names
          .slice(0, -1)
          .reduce((from, name) => `json_get(${from}, ${sqlText(name)})`, 'metadata');
        return `json_get_string(${inside}, ${sqlText(names.at(-1)!)})`;
      }),
    );
  }

  /** Condition that holds for the field, by a function that makes it for a path. */
  any(condition: (path: string) => string): string {
    return `(${this.paths.map((path) => holds(condition(path))).join(' OR ')})`;
  }

  private get paths(): string[] {
    return this.ways.map((names) => sqlText(`$${names.map((name) => `.${JSON.stringify(name)}`).join('')}`));
  }

  private first(values: readonly string[]): string {
    return values.length === 1 ? values[0]! : `coalesce(${values.join(', ')})`;
  }
}
