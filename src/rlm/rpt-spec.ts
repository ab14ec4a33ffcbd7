import { join } from 'node:path';
import { findModel } from '../models/folder/find-model.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { objectIn } from '../util/json-objects.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type GivenValues, type OptionTable, pickOptions } from '../util/option-table.ts';
import { CHUNK_RETRIEVALS, type ChunkChoice, gradedChunks } from './chunk-choice.ts';
import { ReferenceGrader } from './chunk-grades.ts';
import { refuseGiven } from './datastore-options.ts';
import { openRpt, RPT_CONFIG, type RptModel } from './rpt.ts';
import { RPT_READING_OPTIONS } from './rpt-options.ts';
import { nextChunkUnknown, RptSystem } from './rpt-system.ts';
import { SOURCE_OPTIONS } from './source-options.ts';
import type { SystemContext, SystemSpec } from './system-spec.ts';

const OPTIONS = {
  ...RPT_READING_OPTIONS,
  ...pickOptions(SOURCE_OPTIONS, 'passageSeed'),
} as const satisfies OptionTable;

type Values = ReturnType<typeof checkedValues<typeof OPTIONS>>;

/** RPT as a kind of language system. */
export const rpt: SystemSpec = {
  id: 'rpt',
  summary: 'chunks of the same text, beyond the reach of attention, that the model itself retrieves',
  paper: {
    title: 'Long-range Language Modeling with Self-retrieval',
    year: 2023,
    url: 'https://arxiv.org/abs/2306.13421',
  },
  options: OPTIONS,
  controls: [
    {
      name: 'rpt-random',
      method: 'rpt',
      options: { retrieval: 'random' },
      follows: ({ retrieval }) => retrieval !== 'random' && retrieval !== 'none',
    },
    {
      name: 'rpt-window',
      method: 'rpt',
      options: { retrieval: 'none' },
      leavesOut: ['chunkNeighbours'],
      follows: ({ retrieval }) => retrieval !== 'none',
    },
  ],
  async windows(folder) {
    const file = join(folder, RPT_CONFIG);
    const { window, stride } = objectIn(objectIn(await readJson(file), file).config, file);
    return { window: Number(window), stride: Number(stride) };
  },
  async open(model, given, context) {
    const options = checkedValues(OPTIONS, given);
    const loaded = await openFolder(model, context.modelFolder);
    checkWindows(loaded, context);
    const { retrieval = loaded.wing.config.retrieval, chunkNeighbours: k, passageSeed: seed } = options;
    const why = `with ${option('retrieval', retrieval)}`;
    if (retrieval !== 'oracle') refuseGiven(options, ['reference', 'scoreCache'], why);
    if (retrieval === 'none') refuseGiven(given, ['chunkNeighbours'], why);
    const graded = retrieval === 'oracle' ? await oracleOf(loaded, options, context) : undefined;
    const system = new RptSystem(loaded, { retrieval, k, seed, oracle: graded?.choice });
    return {
      name: system.name,
      model,
      ledger: system.ledger,
      settings: system.settings,
      score: (segments, scoring) => system.score(segments, scoring),
      async dispose() {
        await system.dispose();
        await graded?.dispose();
      },
    };
  },
};

/** Options of generating text with an RPT model, as commands take them. The chunk after next is not written yet, so there is no `oracle`. */
export const RPT_GENERATION_OPTIONS = {
  ...pickOptions(OPTIONS, 'chunkNeighbours'),
  retrieval: {
    ...OPTIONS.retrieval,
    choices: CHUNK_RETRIEVALS.filter((each) => each !== 'oracle'),
    help: 'rpt: neighbours of a chunk among earlier chunks of the text: by the learned retriever, by BM25, random ones, or none',
  },
  passageSeed: {
    ...OPTIONS.passageSeed,
    group: OPTIONS.retrieval.group,
    help: 'rpt: seed of random neighbours',
  },
} as const satisfies OptionTable;

/**
 * Opens an RPT model that writes text.
 *
 * @param given  values of `RPT_GENERATION_OPTIONS`
 * @param folder  folder of the model
 * @throws UsageError where the model was trained with neighbours that are unknown while a text is written, and no others are asked for
 */
export async function openRptWriter(
  model: LanguageModel,
  given: GivenValues,
  folder: string,
): Promise<RptSystem> {
  const { chunkNeighbours: k, passageSeed: seed, retrieval } = checkedValues(RPT_GENERATION_OPTIONS, given);
  const loaded = await openFolder(model, folder);
  const used = retrieval ?? loaded.wing.config.retrieval;
  if (used === 'oracle') throw nextChunkUnknown();
  const why = `with ${option('retrieval', used)}`;
  if (used !== 'random') refuseGiven(given, ['passageSeed'], why);
  if (used === 'none') refuseGiven(given, ['chunkNeighbours'], why);
  return new RptSystem(loaded, { retrieval, k, seed });
}

/** @throws UsageError for a model without a folder, DataError for a folder without the parts */
async function openFolder(model: LanguageModel, folder: string | undefined): Promise<RptModel> {
  if (folder !== undefined) return await openRpt(folder, model);
  throw new UsageError('a model in memory has no parts that retrieve', {
    help: 'give the folder of a model that was trained with them',
  });
}

/** @throws UsageError for windows that chunks do not fit */
function checkWindows({ wing }: RptModel, { windows }: SystemContext): void {
  const { chunkTokens, window, stride } = wing.config;
  for (const name of ['window', 'stride'] as const) {
    if (windows[name] % chunkTokens === 0) continue;
    throw new UsageError(
      `${option(name, windows[name])} is no multiple of ${chunkTokens}, the tokens of a chunk of the model`,
      { help: `the model was trained with ${option('window', window)} and ${option('stride', stride)}` },
    );
  }
}

/** Opens the rule that chooses neighbours by the grades of a reference model. */
async function oracleOf(
  { base, wing }: RptModel,
  { reference, chunkCandidates: candidates, scoreCache: cache }: Values,
  { onProgress, onNote, device, threads }: SystemContext,
): Promise<{ readonly choice: ChunkChoice; dispose(): Promise<void> }> {
  if (reference === undefined) {
    throw new UsageError(`${option('retrieval', 'oracle')} needs a language model that grades chunks`, {
      help: `name one by ${option('reference')}, such as the one that the model was trained with`,
    });
  }
  const told = { option: 'reference', ...(onProgress && { onProgress }), ...(onNote && { onNote }) };
  const model = await LanguageModel.load(await findModel(reference, [], told), { ...(onNote && { onNote }) });
  const grader = await ReferenceGrader.create(model, {
    ...{ candidates, cache, tokenizer: base.tokenizer, chunkTokens: wing.config.chunkTokens },
    ...(device && { device }),
    ...(threads && { threads }),
  });
  return {
    choice: gradedChunks(grader),
    async dispose() {
      await grader.flush();
      await model.dispose();
    },
  };
}
