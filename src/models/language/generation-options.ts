import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { checkOptions, type GivenOptions, type OptionTable, optionValues } from '../../util/option-table.ts';

/** Options of generation. */
export const GENERATION_OPTIONS = {
  /** Maximum number of new tokens. Default 128. */
  tokens: {
    type: 'integer',
    min: 0,
    default: 128,
    help: 'maximum number of new tokens',
    aliases: ['maxTokens', 'max_tokens', 'maxNewTokens', 'max_new_tokens', 'num_predict'],
  },
  /** Temperature of sampling: logits are divided by it. 0, the default, takes the most likely token each time. */
  temperature: {
    type: 'number',
    min: 0,
    default: 0,
    help: 'divisor of the logits in sampling; 0 takes the most likely token each time',
    group: 'Sampling',
  },
  /** Sampling among the most likely tokens whose probabilities add up to this share. Default 1: all tokens. */
  topP: {
    type: 'number',
    above: 0,
    max: 1,
    default: 1,
    help: 'sample among the most likely tokens whose probabilities add up to this share',
    group: 'Sampling',
  },
  /** Sampling among this number of most likely tokens. Default all. */
  topK: {
    type: 'integer',
    min: 1,
    defaultHelp: 'all',
    help: 'sample among this number of most likely tokens',
    group: 'Sampling',
  },
  /** Seed of sampling. The same seed gives the same text. Default 0. */
  seed: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'seed of sampling; the same seed gives the same text',
    group: 'Sampling',
  },
  /** Strings that end the text. The text stops before the first of them. Default none. */
  stop: {
    type: 'list',
    escapes: true,
    defaultHelp: 'none',
    help: 'strings before which the text ends, separated by commas; \\n is a line break, \\, a comma',
    aliases: ['stopStrings', 'stop_strings', 'stopSequences', 'stop_sequences'],
  },
  /**
   * Whether the weights are packed first, so that each new token takes about three quarters of the time. Packing takes seconds, and
   * several times the memory of the weights. It pays from some hundred new tokens on. Default false.
   */
  packWeights: {
    type: 'switch',
    default: false,
    help: 'pack the weights first: faster from some hundred tokens on, for more memory',
  },
} as const satisfies OptionTable;

/** Checked options of generation, with their defaults. */
export type GenerationSettings = ReturnType<typeof generationSettings>;

/**
 * Checks the options of generation and fills in defaults. Other names are left alone.
 *
 * @throws UsageError for a value out of range, an empty stop string, or a restriction of sampling without sampling
 */
export function generationSettings(given: GivenOptions<typeof GENERATION_OPTIONS>) {
  const names = Object.keys(GENERATION_OPTIONS) as (keyof typeof GENERATION_OPTIONS)[];
  const own = Object.fromEntries(names.map((name) => [name, given[name]]));
  checkOptions(GENERATION_OPTIONS, own);
  const settings = optionValues(GENERATION_OPTIONS, own);
  const { temperature, topK, topP, stop = [] } = settings;
  if (stop.includes('')) throw new UsageError(`${option('stop')} has an empty string, which ends every text`);
  const restricts = topK !== undefined ? 'topK' : topP < 1 ? 'topP' : undefined;
  if (temperature === 0 && restricts) {
    throw new UsageError(
      `${option(restricts)} is about sampling, and ${option('temperature')} 0 takes the most likely token`,
      {
        help: `add ${option('temperature')} 1, or another number above 0`,
      },
    );
  }
  return { ...settings, stop };
}

/**
 * Refuses packed weights, for ways of generation that have no packed program.
 *
 * @throws UsageError if they are asked for
 */
export function refusePackedWeights({ packWeights }: GenerationSettings): void {
  if (!packWeights) return;
  throw new UsageError(`${option('packWeights')} is for decoders that read nothing but their text`, {
    help: `leave ${option('packWeights')} out`,
  });
}
