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
  /** Value to compare with. A field that is absent or of another type fulfils no condition but `!=`. */
  readonly value: FilterValue;
}

/** Conditions that must all hold. */
export type MetadataFilter = readonly FieldCondition[];

const CONDITION = /^\s*([^<>=!~]+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*$/s;

/**
 * Reads a condition as it is typed: `year>=2020`, `lang=en`, `tags~draft`. A value that is a number or `true` or `false` is taken
 * as such; quotation marks make it a text.
 *
 * @throws UsageError for a text of another form
 */
export function parseCondition(text: string): FieldCondition {
  const [, field, sign, found] = CONDITION.exec(text) ?? [];
  if (field === undefined || sign === undefined || found === undefined || found === '') {
    throw new UsageError(`"${text}" is not a condition`, {
      help: 'write field, comparison and value, for example year>=2020, lang=en, tags~draft',
    });
  }
  return { field, is: sign === '~' ? 'contains' : (sign as FieldCondition['is']), value: literalOf(found) };
}

function literalOf(text: string): FilterValue {
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  if (quoted) return quoted[2]!;
  if (text === 'true' || text === 'false') return text === 'true';
  const number = Number(text);
  return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) && Number.isFinite(number) ? number : text;
}

/** Translates a filter into LanceDB's SQL; undefined if it has no condition. */
export function filterSql(filter: MetadataFilter): string | undefined {
  return filter.length === 0 ? undefined : filter.map(conditionSql).join(' AND ');
}

function conditionSql({ field, is, value }: FieldCondition): string {
  const path = sqlText(
    `$${field
      .split('.')
      .map((name) => `.${JSON.stringify(name)}`)
      .join('')}`,
  );
  const found = `json_extract(metadata, ${path})`;
  if (is === 'contains')
    return `coalesce(json_array_contains(metadata, ${path}, ${sqlText(String(value))}), false)`;
  if (is === '!=') return `NOT ${conditionSql({ field, is: '=', value })}`;
  if (typeof value === 'number') return `coalesce(TRY_CAST(${found} AS DOUBLE) ${is} ${value}, false)`;
  if (is === '=' || typeof value === 'boolean') {
    return `coalesce(${found} ${is} ${sqlText(JSON.stringify(value))}, false)`;
  }
  return `coalesce(json_get_string(metadata, ${sqlText(field)}) ${is} ${sqlText(value)}, false)`;
}
