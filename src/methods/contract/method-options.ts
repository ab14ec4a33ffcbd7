import { parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from '../../correctors/corrector.ts';
import { CORRECTOR_LOSSES, type CorrectorLoss } from '../../correctors/corrector-options.ts';
import { DISTANCES, type DistanceName } from '../../losses/distances.ts';
import { CROP_TASKS } from '../../text/crops.ts';
import { UsageError } from '../../util/errors.ts';
import { findLoss, LOSSES, type LossName } from './loss-names.ts';
import type { Method } from './method.ts';

export const CORRECTED_FROM = ['random', 'shortlist'] as const;

export const SAMPLER_KINDS = ['softmax', 'top', 'rank-range', 'uniform'] as const;

/** What training methods can be told. Each method takes some of these, and has defaults for what it takes. */
export interface MethodOptions {
  /** What is made of the scores; which losses there are is the method's affair. */
  loss: LossName;
  /** `triplet`: by how much a positive is to be nearer than a negative. */
  margin: number;
  /** `triplet`: what is near. */
  distance: DistanceName;
  /** `gist`: folder of the model that tells likely right answers. */
  guide: string;
  /** `kl`: temperature of the teacher's softmax. */
  teacherTemperature: number;
  /** Smaller sizes of the embeddings that are trained besides the full one; see `matryoshka`. */
  matryoshka: readonly number[];
  /** The weight of each; all 1 where there are none. */
  matryoshkaWeights: readonly number[];
  /** How negatives are picked from scores. */
  sampler: (typeof SAMPLER_KINDS)[number];
  /** Negatives for each query, k. */
  samples: number;
  /** Further negatives for each query, uniformly from the table. */
  uniformSamples: number;
  /** First rank by score that `rank-range` picks from, 0 the best. */
  rankFrom: number;
  /** Rank before which `rank-range` ends. */
  rankTo: number;
  /** Candidates nearer to the positive's similarity than this are left out; 0 for none. */
  absoluteMargin: number;
  /** The same as a share of the positive's similarity. */
  relativeMargin: number;
  /** Rows of the table; 0 for the whole corpus. */
  cacheSize: number;
  cacheStorage: 'f32' | 'f16';
  /** Whether re-encoding a row makes it young again (`lru`) or only insertion does (`fifo`). */
  eviction: 'lru' | 'fifo';
  /** Whether the table is filled before the first step, with random documents where it does not hold all. */
  prefill: boolean;
  /** Which rows are embedded again, and when; see `parseRefreshPolicy`. */
  refresh: string;
  /** Whether write-back uses embeddings made with dropout, as the step has them, or makes them again without. */
  writeBackWithoutDropout: boolean;
  /** Share of the old weights that the slow encoder keeps at each update. */
  momentum: number;
  /** Whether the queue method's positives come from the slow encoder (MoCo) or, with a gradient, from the trained one. */
  positives: 'momentum' | 'fresh';
  /** Who ranks candidates for mining: `bm25`, `self`, or a model. */
  mineFrom: string;
  /** Steps after which negatives are mined again; 0 for never. */
  mineEvery: number;
  /** Steps after which a random snapshot is drawn anew. */
  snapshotEvery: number;
  /** How query and positive are cut from a document. */
  cropTask: (typeof CROP_TASKS)[number];
  /** Tokens of a crop as a share of its window, at least and at most. */
  cropMin: number;
  cropMax: number;
  /** Tokens of a document that both crops are cut from. */
  cropWindow: number;
  /** Probability with which each token of a crop is left out. */
  cropDelete: number;
  /** `inverse-cloze`: probability with which the query is taken out of its text. */
  cropRemove: number;
  /** Earlier positives that are negatives of each crop; 0 for those of the batch alone. */
  queueSize: number;
  /** What moves cached embeddings to where they would be now. */
  corrector: CorrectorKind;
  /** `mlp`: width of its hidden layers; 0 for 2 D. */
  correctorHidden: number;
  /** `mlp`: hidden layers. */
  correctorDepth: number;
  /** `low-rank`: rank of the correction. */
  correctorRank: number;
  /** `mlp`: learning rate, constant. */
  correctorLr: number;
  /** `mlp`: whether it matches embeddings, the queries' distribution over them, or both. */
  correctorLoss: CorrectorLoss;
  /** `mlp`: whether it is told how old each row is. Rows of age 0 are then left as they are. */
  correctorAge: boolean;
  /** Closed forms: steps after which they are fitted anew. */
  refitEvery: number;
  /** Closed forms: latest pairs that they are fitted to. */
  reservoir: number;
  /** Documents of each step, uniformly from the table, that are embedded without a gradient for the corrector to learn from. */
  teachingSamples: number;
  /** Rows of the table that are corrected for a step, at random; 0 for all. */
  correctedRows: number;
  /** Whether `correctedRows` are random ones, or the nearest to the batch's queries in the stale table and random ones. */
  correctedFrom: (typeof CORRECTED_FROM)[number];
  /** Steps at first whose negatives are uniform and from the batch. */
  uniformSteps: number;
}

/** What an option may be. */
interface Rule {
  readonly accepts: (value: unknown) => boolean;
  readonly expected: string;
}

const oneOf = (...values: readonly string[]): Rule => ({
  accepts: (value) => typeof value === 'string' && values.includes(value),
  expected: `one of ${values.join(', ')}`,
});
const whole = (least: number): Rule => ({
  accepts: (value) => Number.isSafeInteger(value) && Number(value) >= least,
  expected: `a whole number of at least ${least}`,
});
const number = (accepts: (value: number) => boolean, expected: string): Rule => ({
  accepts: (value) => typeof value === 'number' && accepts(value),
  expected,
});
const flag: Rule = { accepts: (value) => typeof value === 'boolean', expected: 'true or false' };
const numbers = (each: Rule): Rule => ({
  accepts: (value) => Array.isArray(value) && value.every(each.accepts),
  expected: `a list, each of it ${each.expected}`,
});
const text: Rule = { accepts: (value) => typeof value === 'string' && value !== '', expected: 'a text' };

/** In the order of the documentation. */
const RULES: { readonly [K in keyof MethodOptions]: Rule } = {
  loss: oneOf(...LOSSES),
  margin: number((x) => x >= 0 && Number.isFinite(x), 'a number of at least 0'),
  distance: oneOf(...DISTANCES),
  guide: { accepts: (value) => typeof value === 'string', expected: 'a model folder' },
  teacherTemperature: number((x) => x > 0 && Number.isFinite(x), 'a number above 0'),
  matryoshka: numbers(whole(1)),
  matryoshkaWeights: numbers(number((x) => x >= 0 && Number.isFinite(x), 'a number of at least 0')),
  sampler: oneOf(...SAMPLER_KINDS),
  samples: whole(1),
  uniformSamples: whole(0),
  rankFrom: whole(0),
  rankTo: whole(1),
  absoluteMargin: number((x) => x >= 0 && Number.isFinite(x), 'a number of at least 0'),
  relativeMargin: number((x) => x >= 0 && x <= 1, 'a number from 0 to 1'),
  cacheSize: whole(0),
  cacheStorage: oneOf('f32', 'f16'),
  eviction: oneOf('lru', 'fifo'),
  prefill: flag,
  refresh: text,
  writeBackWithoutDropout: flag,
  momentum: number((x) => x >= 0 && x < 1, 'a number of at least 0 and below 1'),
  positives: oneOf('momentum', 'fresh'),
  mineFrom: text,
  mineEvery: whole(0),
  snapshotEvery: whole(1),
  cropTask: oneOf(...CROP_TASKS),
  cropMin: number((x) => x > 0 && x <= 1, 'a number above 0 and at most 1'),
  cropMax: number((x) => x > 0 && x <= 1, 'a number above 0 and at most 1'),
  cropWindow: whole(8),
  cropDelete: number((x) => x >= 0 && x < 1, 'a number of at least 0 and below 1'),
  cropRemove: number((x) => x >= 0 && x <= 1, 'a number from 0 to 1'),
  queueSize: whole(0),
  corrector: oneOf(...CORRECTOR_KINDS),
  correctorHidden: whole(0),
  correctorDepth: whole(1),
  correctorRank: whole(1),
  correctorLr: number((x) => x > 0 && Number.isFinite(x), 'a number above 0'),
  correctorLoss: oneOf(...CORRECTOR_LOSSES),
  correctorAge: flag,
  refitEvery: whole(1),
  reservoir: whole(1),
  teachingSamples: whole(0),
  correctedRows: whole(0),
  correctedFrom: oneOf(...CORRECTED_FROM),
  uniformSteps: whole(0),
};

/** Names of all method options, for settings and command line. */
export const METHOD_OPTION_NAMES = Object.keys(RULES) as readonly (keyof MethodOptions)[];

/**
 * A method's options: its own defaults, with what was given on top.
 *
 * @param method  with the default of every option that it takes, and the losses that it has
 * @throws UsageError for an option that the method does not take, for a value that none can have, for a loss of another method, and
 *   for a refresh policy that makes no sense
 */
export function resolveMethodOptions(
  { id, options: defaults, losses = [] }: Pick<Method, 'id' | 'options' | 'losses'>,
  given: Partial<Record<keyof MethodOptions, unknown>>,
): Partial<MethodOptions> {
  const flagOf = (key: string) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const options: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (!(key in defaults)) {
      const taken = Object.keys(defaults).map(flagOf);
      throw new UsageError(`the method ${id} takes no ${flagOf(key)}`, {
        help: taken.length > 0 ? `it takes ${taken.join(', ')}` : 'it takes no options of its own',
      });
    }
    if (key === 'loss' && typeof value === 'string') {
      options[key] = findLoss(value, id, losses);
      continue;
    }
    const { accepts, expected } = RULES[key as keyof MethodOptions];
    if (!accepts(value)) {
      throw new UsageError(`${flagOf(key)} must be ${expected}, got ${JSON.stringify(value)}`);
    }
    options[key] = value;
  }
  if (typeof options.refresh === 'string') parseRefreshPolicy(options.refresh);
  return options as Partial<MethodOptions>;
}
