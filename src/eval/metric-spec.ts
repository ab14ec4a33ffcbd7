import { UsageError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';

/**
 * Metric families, and whether the cutoff `@k` may be left out. Without a cutoff the whole ranking counts.
 */
const FAMILIES = {
  ndcg: 'optional',
  ndcg_exp: 'optional',
  mrr: 'optional',
  map: 'optional',
  recall: 'required',
  precision: 'required',
  success: 'required',
  judged: 'required',
} as const;

/** Family of a metric, without its cutoff: `ndcg`, `recall`, … */
export type MetricFamily = keyof typeof FAMILIES;

/** Metric such as `ndcg@10`: a family and a cutoff. */
export interface MetricSpec {
  /** Canonical spelling, the key in every result: `ndcg@10`, `map`. */
  readonly name: string;
  /** Family of the metric: `ndcg`. */
  readonly family: MetricFamily;
  /** Number of top-ranked documents that count; Infinity for a metric without `@k`. */
  readonly cutoff: number;
}

/** Spellings of trec_eval, ir_measures and sentence-transformers for the same families. */
const ALIASES: Readonly<Record<string, MetricFamily>> = {
  ndcg_cut: 'ndcg',
  recip_rank: 'mrr',
  rr: 'mrr',
  map_cut: 'map',
  ap: 'map',
  p: 'precision',
  r: 'recall',
  accuracy: 'success',
};

const HELP =
  'known: ndcg@10, ndcg_exp@10, mrr@10, map, map@100, recall@100, precision@10, success@5, judged@10';

/**
 * Parses one metric: `family@k`, or `family` alone where the whole ranking makes sense (`map`, `mrr`,
 * `ndcg`).
 *
 * Case does not matter. trec_eval's own names (`ndcg_cut_10`, `recip_rank`, `P_10`) are accepted too.
 *
 * @throws UsageError for an unknown name (the message suggests the nearest known one), and for a missing or
 *   invalid cutoff
 */
export function parseMetric(text: string): MetricSpec {
  const match = /^([a-z_]*[a-z])(?:[@_.]([^@]*))?$/i.exec(text.trim());
  const written = (match?.[1] ?? text.split('@')[0]!).trim().toLowerCase();
  const family = isFamily(written)
    ? written
    : Object.hasOwn(ALIASES, written)
      ? ALIASES[written]!
      : undefined;
  if (match === null || family === undefined) {
    const near = nearest(written.slice(0, 40).replace(/[0-9]+$/, ''), [
      ...Object.keys(FAMILIES),
      ...Object.keys(ALIASES),
    ]);
    const digits = /[0-9]+$/.exec(text.trim())?.[0];
    const hint =
      near === undefined ? '' : `, did you mean "${near}${digits === undefined ? '' : `@${digits}`}"?`;
    throw new UsageError(`unknown metric "${text.trim()}"${hint}`, { help: HELP });
  }
  const digits = match[2];
  if (digits === undefined) {
    if (FAMILIES[family] === 'required') {
      throw new UsageError(`metric "${text.trim()}" needs a cutoff, for example ${family}@10`, {
        help: HELP,
      });
    }
    return { name: family, family, cutoff: Number.POSITIVE_INFINITY };
  }
  const cutoff = Number(digits);
  if (!/^[0-9]+$/.test(digits) || cutoff < 1 || !Number.isSafeInteger(cutoff)) {
    throw new UsageError(`the cutoff of metric "${text.trim()}" must be a whole number of at least 1`, {
      help: `for example ${family}@10`,
    });
  }
  return { name: `${family}@${cutoff}`, family, cutoff };
}

/**
 * Parses a list of metrics, given as an array or as one string with commas. Repetitions are dropped.
 *
 * @throws UsageError as {@link parseMetric} does, and when the list is empty
 */
export function parseMetrics(list: string | readonly string[]): MetricSpec[] {
  const texts = (typeof list === 'string' ? list.split(',') : list).filter((text) => text.trim() !== '');
  if (texts.length === 0) throw new UsageError('no metric is named', { help: HELP });
  const specs = new Map<string, MetricSpec>();
  for (const text of texts) {
    const spec = parseMetric(text);
    specs.set(spec.name, spec);
  }
  return [...specs.values()];
}

function isFamily(name: string): name is MetricFamily {
  return Object.hasOwn(FAMILIES, name);
}
