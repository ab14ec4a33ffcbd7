import type { TextDocument } from '../data/text-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option, tellNote } from '../util/option-name.ts';
import type { GivenValues, OptionTable, OptionValues } from '../util/option-table.ts';
import { documentSegments } from './evaluate-text.ts';
import { type LanguageSystem, type ScoreOptions, type Segment, scoredTokens } from './language-system.ts';
import { withRandomTokens } from './random-tokens.ts';
import { NEIGHBOURS, type Recaller, type SegmentRecall } from './recaller.ts';
import type { SystemContext } from './system-spec.ts';
import type { TextWindows } from './text-windows.ts';
import { TokenDatastore, type TokenMemory } from './token-datastore.ts';

const GROUP = { group: 'Token datastore' } as const;

/** Options of the datastore that a system searches. */
export const DATASTORE_OPTIONS = {
  datastore: {
    ...GROUP,
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'datastore that undrift lm datastore has built with this model',
  },
  datastoreShare: {
    ...GROUP,
    type: 'number',
    above: 0,
    max: 1,
    default: 1,
    help: 'share of the datastore to search, from its beginning',
  },
  knnK: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    default: NEIGHBOURS,
    help: 'nearest tokens of the datastore for each token; all where it holds fewer',
  },
  knnTokens: {
    ...GROUP,
    type: 'choice',
    choices: ['own', 'random'],
    default: 'own',
    help: 'tokens that the neighbours predict: their own, or, as a control, those of other places of the datastore',
  },
} as const satisfies OptionTable;

/** Options of the text on which a system tunes its weights. */
export const TUNING_OPTIONS = {
  tuneData: {
    ...GROUP,
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'development text on which temperatures and weights are chosen: a file like that of --data',
  },
  tuneTokens: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    default: 8192,
    help: 'tokens of the development text to tune on',
  },
} as const satisfies OptionTable;

type DatastoreValues = OptionValues<typeof DATASTORE_OPTIONS>;

/**
 * Opens the datastore of a system's options, if they name one.
 *
 * @throws UsageError and DataError as `TokenDatastore.open` and `TokenDatastore.check`
 */
async function openDatastore(
  model: LanguageModel,
  { datastore: folder, datastoreShare: share, knnK }: DatastoreValues,
  { device, threads, onNote }: Pick<SystemContext, 'device' | 'threads' | 'onNote'>,
): Promise<TokenDatastore | undefined> {
  if (folder === undefined) return undefined;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const datastore = await TokenDatastore.open(folder, { share, ...compute });
  try {
    datastore.check(model);
    if (datastore.size < knnK) {
      tellNote(
        onNote,
        `${option('knnK', knnK)}: the datastore holds ${count(datastore.size)} tokens, all of which are neighbours`,
      );
    }
    return datastore;
  } catch (error) {
    await datastore.dispose();
    throw error;
  }
}

/**
 * Checks the options of a datastore, and of the text to tune on, together.
 *
 * @throws UsageError for an option that has no meaning without a datastore or without such a text
 */
export function checkDatastoreOptions(options: DatastoreValues & OptionValues<typeof TUNING_OPTIONS>): void {
  const { datastoreShare, knnK, knnTokens } = DATASTORE_OPTIONS;
  const { tuneTokens } = TUNING_OPTIONS;
  if (options.datastore === undefined)
    refuseChanged(options, { datastoreShare, knnK, knnTokens }, `without ${option('datastore')}`);
  if (options.tuneData === undefined) refuseChanged(options, { tuneTokens }, `without ${option('tuneData')}`);
}

/** Refuses options with another value than their default. @throws UsageError for the first of them */
function refuseChanged(
  options: GivenValues,
  table: Readonly<Record<string, { readonly default: unknown }>>,
  because: string,
): void {
  const changed = Object.keys(table).filter((name) => options[name] !== table[name]!.default);
  refuseGiven(options, changed, because);
}

/**
 * Refuses options that have no meaning beside others.
 *
 * @param because  reason, for the message: `without --datastore`
 * @throws UsageError for the first of the options that was given
 */
export function refuseGiven<K extends string>(
  options: Readonly<Partial<Record<K, unknown>>>,
  keys: readonly K[],
  because: string,
): void {
  const found = keys.find((key) => options[key] !== undefined);
  if (found !== undefined) throw new UsageError(`${option(found)} has no meaning ${because}`);
}

/** Returns the tokens that a system searches: those of the datastore, or random ones under its keys, as a control. */
const searchedTokens = (
  datastore: TokenDatastore | undefined,
  { knnTokens }: DatastoreValues,
): TokenMemory | undefined => (datastore && knnTokens === 'random' ? withRandomTokens(datastore) : datastore);

/** Settings of a datastore for reports. */
const datastoreSettings = (
  datastore: TokenDatastore | undefined,
  { datastoreShare: share, knnK, knnTokens }: DatastoreValues,
): Readonly<Record<string, unknown>> => ({
  ...(datastore && { datastore: { ...datastore.manifest, tokens: datastore.size, share } }),
  neighbours: knnK,
  ...(knnTokens !== 'own' && { tokens: knnTokens }),
});

/**
 * Opens a system over the datastore of its options, if they name one. The system owns it: both are freed together.
 *
 * @param make  makes the system over the tokens that it searches, and its settings for reports beside those of the datastore
 * @throws UsageError and DataError as `TokenDatastore.open` and `TokenDatastore.check`
 */
export async function withDatastore(
  model: LanguageModel,
  options: DatastoreValues,
  context: Pick<SystemContext, 'device' | 'threads' | 'onNote'>,
  make: (
    memory: TokenMemory | undefined,
  ) => Promise<{ readonly system: LanguageSystem; readonly settings: Readonly<Record<string, unknown>> }>,
): Promise<LanguageSystem> {
  const datastore = await openDatastore(model, options, context);
  try {
    const { system, settings } = await make(searchedTokens(datastore, options));
    return {
      ...system,
      settings: { ...datastoreSettings(datastore, options), ...settings },
      async dispose() {
        await system.dispose();
        await datastore?.dispose();
      },
    };
  } catch (error) {
    await datastore?.dispose();
    throw error;
  }
}

/** Windows, amount and machine of `recallDocuments`. */
export interface RecallOptions extends Pick<SystemContext, 'onProgress'> {
  readonly device?: SystemContext['device'] | undefined;
  readonly threads?: number | undefined;
  /** Windows in which the text is read. */
  readonly windows: TextWindows;
  /** Number of tokens to recall. */
  readonly tokens: number;
}

/** Recalls the beginning of a text, to tune on it. All that is recalled stays in memory. */
export async function recallDocuments(
  recaller: Recaller,
  model: LanguageModel,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  { windows, tokens, onProgress, device, threads }: RecallOptions,
): Promise<SegmentRecall[]> {
  const segments: Segment[] = [];
  let rest = tokens;
  for await (const document of documents) {
    for (const segment of documentSegments({ model }, document, windows, rest).segments) {
      segments.push(segment);
      rest -= scoredTokens(segment);
    }
    if (rest <= 0) break;
  }
  const recalled: SegmentRecall[] = [];
  const scoring: ScoreOptions = {
    ...{ ...(device && { device }), ...(threads && { threads }) },
    onProgress: (progress) => onProgress?.({ ...progress, stage: 'recall' }),
  };
  for await (const each of recaller.recall(segments, scoring)) recalled.push(each);
  return recalled;
}
