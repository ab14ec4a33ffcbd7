import { parseMetrics } from '../eval/metric-spec.ts';
import { findMethod } from '../methods/methods.ts';
import { TRAIN_OPTIONS } from '../train/options.ts';
import { resolveSettings } from '../train/settings.ts';
import { UsageError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import type { OptionSpec } from '../util/option-table.ts';
import { readOptions } from '../util/option-text.ts';
import {
  type Arm,
  type ArmOptions,
  BUDGET_KINDS,
  type Budget,
  type Comparison,
  type EvaluationPlan,
} from './comparison.ts';
import {
  ConfigReader,
  type Fields,
  fileStem,
  fromConfig,
  prefixOf,
  valueFromConfig,
} from './config-reader.ts';
import { type Reading, readingOf } from './trainer.ts';

/** Options of `readComparison`, among them those of reading the data, which replace those of all arms. */
export interface ReadComparisonOptions extends Reading {
  /** Data set in place of the one in the file. Relative to the working directory. */
  data?: string | undefined;
  /** Folder of the comparison in place of the one in the file. Relative to the working directory. */
  out?: string | undefined;
}

const KEYS = ['name', 'data', 'base', 'budget', 'seeds', 'arms', 'evaluate', 'out'];
/** Options that the comparison sets itself, each with the place to set it instead. */
const NOT_FOR_ARMS: Readonly<Record<string, string>> = {
  data: 'at the top of the file, for all arms',
  corpus: 'as "data" at the top of the file, for all arms',
  out: 'at the top of the file: each run gets a folder of its own inside it',
  seed: 'as "seeds" at the top of the file',
  store: 'nowhere: a comparison evaluates on the documents of its data',
  resume: 'nowhere: a comparison goes on where it stopped',
  overwrite: `as ${option('overwrite')} of the whole comparison`,
};
const MAX_RUNS = 10_000;

/**
 * Reads the config file of a comparison: a JSON object.
 *
 *     {
 *       "name": "negatives", "data": "../data/api-docs", "out": "../runs/negatives",
 *       "base": {"model": "static", "batch-size": 16},
 *       "budget": {"steps": 1000},
 *       "seeds": [1, 2, 3],
 *       "arms": [{"name": "in-batch", "method": "in-batch"}, {"name": "warmer", "method": "in-batch", "temperature": 0.1}],
 *       "evaluate": {"split": "test", "metrics": ["ndcg@10"], "queries": 500}
 *     }
 *
 * Paths in the file are relative to the file. Only `data`, `out` and `arms` are required.
 *
 * @throws UsageError with file and place for a key that is missing or unknown (and the nearest known one), or
 *   an invalid value
 * @throws DataError if the file cannot be read or is not JSON
 */
export async function readComparison(file: string, options: ReadComparisonOptions = {}): Promise<Comparison> {
  return checkComparison(await readJson(file), { ...options, file });
}

/**
 * Checks the content of a config file, or an object of the same form.
 *
 * @param options.file  file with the content, to which its paths are relative. Default: none; paths are relative
 *   to the working directory
 * @throws UsageError with the place of a key that is missing or unknown, or an invalid value
 */
export function checkComparison(
  config: unknown,
  { file = '', ...options }: ReadComparisonOptions & { file?: string } = {},
): Comparison {
  const reader = new ComparisonReader(file);
  const top = reader.fields(config, '', KEYS);
  const inFile = (path: string) => fromConfig(file, path);

  const data = options.data ?? inFile(reader.text(top, 'data', option('data')));
  const out = options.out ?? inFile(reader.text(top, 'out', option('out')));
  const budget = reader.budget(top.budget);
  const seeds = reader.seeds(top.seeds);
  const arms = reader.arms(top, budget, readingOf({ ...options }));
  reader.sameReading(arms);
  if (arms.length * seeds.length > MAX_RUNS) {
    throw new UsageError(
      `${prefixOf(file)}${arms.length} arms with ${seeds.length} seeds are more than ${MAX_RUNS} runs`,
    );
  }
  return {
    name: top.name === undefined ? fileStem(file) || 'comparison' : reader.text(top, 'name'),
    data,
    out,
    budget,
    seeds,
    arms,
    evaluate: reader.evaluation(top.evaluate),
  };
}

/** Reads the parts of the config file of a comparison of trainings. */
class ComparisonReader extends ConfigReader {
  budget(value: unknown): Budget | null {
    if (value === undefined || value === null) return null;
    const fields = this.fields(value, 'budget', BUDGET_KINDS);
    const kinds = BUDGET_KINDS.filter((kind) => fields[kind] !== undefined);
    const kind = kinds[0];
    if (kind === undefined || kinds.length > 1) {
      throw this.error('budget', `one of ${BUDGET_KINDS.join(', ')} is wanted, found ${kinds.length}`);
    }
    const amount = fields[kind];
    const whole = kind === 'steps' || kind === 'encodes';
    if (typeof amount !== 'number' || !(amount > 0) || (whole && !Number.isSafeInteger(amount))) {
      throw this.wrong(`budget.${kind}`, whole ? 'a whole number of at least 1' : 'a number above 0', amount);
    }
    return { kind, amount };
  }

  seeds(value: unknown = [1]): number[] {
    const isSeed = (seed: unknown) =>
      Number.isSafeInteger(seed) && (seed as number) >= 0 && (seed as number) < 2 ** 32;
    if (!Array.isArray(value) || value.length === 0 || !value.every(isSeed)) {
      throw this.wrong('seeds', 'a list of whole numbers from 0 to 4,294,967,295', value);
    }
    const twice = value.find((seed, i) => value.indexOf(seed) !== i);
    if (twice !== undefined) throw this.error('seeds', `${twice} stands there twice`);
    return value;
  }

  /** Checks that all arms read the same data alike. @throws UsageError where they do not */
  sameReading(arms: readonly Arm[]): void {
    const text = ({ options }: Arm) => JSON.stringify(readingOf({ ...options }));
    const other = arms.find((arm) => text(arm) !== text(arms[0]!));
    if (other === undefined) return;
    throw this.error(
      'arms',
      `"${arms[0]!.name}" and "${other.name}" read the data differently: ${text(arms[0]!)} and ${text(other)}`,
      'say in "base" how the data is read, for all arms',
    );
  }

  arms(top: Fields, budget: Budget | null, reading: Reading): Arm[] {
    const base = top.base === undefined ? {} : this.fields(top.base, 'base');
    this.armOptions(base, 'base', budget);
    if (top.arms === undefined) {
      throw this.error(
        '',
        '"arms" is missing',
        'for example "arms": [{"name": "in-batch", "method": "in-batch"}]',
      );
    }
    if (!Array.isArray(top.arms) || top.arms.length === 0)
      throw this.wrong('arms', 'a list of arms', top.arms);
    const arms = top.arms.map((value, i) => {
      const read = this.arm(value, `arms[${i}]`, base, budget);
      return {
        ...read,
        written: { ...read.written, ...reading },
        options: { ...read.options, ...reading },
      };
    });
    this.distinctNames(arms);
    return arms;
  }

  private arm(value: unknown, place: string, base: Fields, budget: Budget | null): Arm {
    const { name, ...own } = this.fields(value, place);
    const method = own.method ?? base.method;
    if (typeof method !== 'string') {
      if (method !== undefined) throw this.wrong(`${place}.method`, 'the id of a training method', method);
      throw this.error(place, '"method" is missing', 'give it in the arm or in "base"');
    }
    const id = this.at(`${place}.method`, () => findMethod(method).id);
    const armName = this.armName(name ?? id, place);
    const label = `${place} ("${armName}")`;
    this.armOptions(own, label, budget);
    const checked = this.armOptions({ ...base, ...own }, label, budget);
    const { method: _, ...written } = checked;
    const table: Readonly<Record<string, OptionSpec>> = TRAIN_OPTIONS;
    const options = Object.fromEntries(
      Object.entries(written).map(([key, option]) => [key, valueFromConfig(this.file, table[key]!, option)]),
    );
    this.at(label, () => resolveSettings({ ...(options as ArmOptions), method: id, data: '', out: '' }));
    return { name: armName, method: id, written: written as ArmOptions, options: options as ArmOptions };
  }

  /** Reads options of a training run. Returns them by their names in camel case. */
  private armOptions(given: Fields, place: string, budget: Budget | null): Fields {
    for (const key of Object.keys(given)) {
      const elsewhere = Object.hasOwn(NOT_FOR_ARMS, key) ? NOT_FOR_ARMS[key] : undefined;
      if (elsewhere) throw this.error(place, `"${key}" does not belong here`, `say it ${elsewhere}`);
    }
    const checked = this.at(place, () => readOptions(TRAIN_OPTIONS, given));
    for (const key of Object.keys(checked)) {
      if (budget && (key === 'steps' || key === 'epochs')) {
        throw this.error(place, `"${key}" contradicts the budget of all arms`, 'leave out one of the two');
      }
    }
    return checked;
  }

  evaluation(value: unknown = {}): EvaluationPlan {
    const { split, metrics, queries } = this.fields(value, 'evaluate', ['split', 'metrics', 'queries']);
    if (split !== undefined && (typeof split !== 'string' || split === '')) {
      throw this.wrong('evaluate.split', 'the name of a split', split);
    }
    const list =
      typeof metrics === 'string' ? metrics.split(',') : (metrics ?? ['ndcg@10', 'mrr@10', 'recall@100']);
    if (!Array.isArray(list) || !list.every((metric) => typeof metric === 'string')) {
      throw this.wrong('evaluate.metrics', 'a list of metrics such as "ndcg@10"', metrics);
    }
    if (
      queries !== undefined &&
      queries !== null &&
      !(Number.isSafeInteger(queries) && (queries as number) >= 2)
    ) {
      throw this.wrong('evaluate.queries', 'a whole number of at least 2', queries);
    }
    return {
      split: (split as string | undefined) ?? 'test',
      metrics: this.at('evaluate.metrics', () => parseMetrics(list).map(({ name }) => name)),
      queries: (queries as number | null | undefined) ?? null,
    };
  }
}
