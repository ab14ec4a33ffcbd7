import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type DataInMemory, IN_MEMORY } from '../../data/data-in-memory.ts';
import { streamTextCorpus } from '../../data/text-corpus.ts';
import { type TokenCorpus, tokenizeCorpus } from '../../data/token-corpus.ts';
import { findModel, pinModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { ChunkDatabase } from '../../rlm/chunk-database.ts';
import {
  chunkQuery,
  findNeighbours,
  type NeighbourLists,
  neighbourIdentity,
  shuffledNeighbours,
  storedNeighbours,
  writeNeighbours,
} from '../../rlm/chunk-neighbours.ts';
import { type NeighbourSource, neighbourSource } from '../../rlm/neighbour-source.ts';
import { plainSystem } from '../../rlm/plain-system.ts';
import { RetroModel, saveRetro } from '../../rlm/retro.ts';
import { RetroSystem } from '../../rlm/retro-system.ts';
import { windowsOf } from '../../rlm/text-windows.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { checkOptions, type OptionValues, optionValues } from '../../util/option-table.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import type { RunResult } from '../run.ts';
import { checkResumed, MODEL, NEIGHBOURS } from '../run-folder.ts';
import { lengthOf } from '../run-plan.ts';
import { type AnySettings, checkRunChoices } from '../settings.ts';
import { RETRO_TRAIN_OPTIONS, type RetroTrainOptions } from './options.ts';
import { retroSubject } from './retro-subject.ts';
import { RetroWindows } from './retro-windows.ts';

/** Id by which `undrift lm train --method` names this training. */
export const RETRO_METHOD = 'retro';

/** Settings of a run, with defaults filled in. */
type RetroSettings = OptionValues<typeof RETRO_TRAIN_OPTIONS> &
  AnySettings & {
    readonly method: typeof RETRO_METHOD;
    readonly lr: number;
  };

/** Result of training RETRO. */
export interface RetroTrainResult extends RunResult {
  /** Folder of the best model by perplexity, or of the last one where nothing was evaluated. */
  readonly model: string;
  /** Settings of the run, with defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Chunks in a window, by default. */
const CHUNKS_PER_WINDOW = 16;

/**
 * Trains the parts that RETRO adds to a language model, which is frozen (RETROfit), and writes a model folder that `loadRetro` reads:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  neighbours.safetensors  model/
 *
 * The documents of `data` are cut into chunks. Neighbours of every chunk are found once, before training, among the chunks of
 * `passageData`, and never among those of the chunk's own document unless `sameDocument` allows it.
 *
 * The same options, data and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed.
 *
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 */
export async function trainRetro(
  options: RetroTrainOptions,
  given: TrainCallbacks = {},
): Promise<RetroTrainResult> {
  const asked = resolveRetroSettings(options);
  const command = `lm train --method ${RETRO_METHOD}`;
  return await composeRun(options, { asked, command }, given, (run) => train(options, asked, run));
}

/** Checks the options of a run and fills in defaults. @throws UsageError */
function resolveRetroSettings(options: RetroTrainOptions): RetroSettings {
  const { data, evalData, ...others } = options;
  const nameOf = (source: string | DataInMemory | undefined) =>
    typeof source === 'object' ? (source.name ?? IN_MEMORY) : source;
  const named = { ...others, data: nameOf(data), evalData: nameOf(evalData) };
  checkOptions(RETRO_TRAIN_OPTIONS, named);
  for (const key of ['data', 'out', 'model'] as const) {
    if ((named[key] ?? null) !== null) continue;
    throw new UsageError(`${option(key)} is missing`);
  }
  const { resume, overwrite, device: _, threads: __, ...values } = optionValues(RETRO_TRAIN_OPTIONS, named);
  checkRunChoices({ resume, overwrite, steps: options.steps, epochs: options.epochs });
  if (values.neighbours === 'off') {
    throw new UsageError(`nothing is trained with ${option('neighbours', 'off')}`, {
      help: 'without neighbours the model is its base',
    });
  }
  return { ...values, method: RETRO_METHOD } as RetroSettings;
}

/** Trains in a folder that no other process writes. */
async function train(
  options: RetroTrainOptions,
  asked: RetroSettings,
  { begun, compute, callbacks, ...run }: PreparedRun,
): Promise<RetroTrainResult> {
  const { onProgress, onNote } = callbacks;
  const { out } = asked;
  const model = await pinModel(asked.model!, { option: 'model', onProgress, onNote });
  const folder = await findModel(model, [], { onProgress, onNote });
  const base = await LanguageModel.load(folder, { ...(onNote && { onNote }) });
  const retro = RetroModel.create(base, shapeOf(asked), { seed: asked.seed });
  const settings = { ...asked, model, window: windowOf(asked, base.decoder.maxTokens) };
  const reading = async (source: string | DataInMemory, limitTokens: number | undefined) =>
    await readCorpus(source, base.tokenizer, settings, { callbacks, limitTokens });
  const opened: { dispose(): Promise<void> }[] = [base];
  try {
    const corpus = await reading(options.data, settings.limitTokens ?? undefined);
    const passages = settings.passageData ? await reading(settings.passageData, undefined) : corpus;
    const dev =
      options.evalData === undefined ? undefined : await reading(options.evalData, settings.evalTokens);
    const fingerprint = [corpus, passages, ...(dev ? [dev] : [])].map((each) => each.fingerprint).join('+');
    if (begun) await checkResumed(out, settings, fingerprint);
    const chunks = new ChunkDatabase(corpus, base.tokenizer, settings.chunkTokens);
    const database =
      passages === corpus ? chunks : new ChunkDatabase(passages, base.tokenizer, settings.chunkTokens);
    const found = await neighbourSource(database, base, settings, { ...compute, onProgress, onNote });
    opened.push(found);
    const k = retro.wing.config.neighbours;
    const lists = await neighboursOf(settings, { chunks, database, found, k, begun }, callbacks);
    const read =
      settings.neighbours === 'shuffled'
        ? shuffledNeighbours(lists.lists, settings.seed, { of: (row) => chunks.document(row), database })
        : lists.lists;
    const { window, batchSize, seed, neighbours, neighbourPart: part } = settings;
    const windows = new RetroWindows(chunks, read, { window, batchSize, seed });
    if (windows.count === 0) {
      throw new UsageError(`no document of ${settings.data} has more than ${settings.chunkTokens} tokens`, {
        help: `lower ${option('chunkTokens')}: a shorter document has no token that reads neighbours`,
      });
    }
    const lengths = lengthOf({ ...settings, steps: settings.steps ?? null }, windows);
    onNote?.(
      `${count(windows.count)} windows of at most ${count(window)} tokens; ${count(database.size)} chunks of ${settings.chunkTokens} tokens to retrieve; ${count(lengths.totalSteps)} steps`,
    );
    const system = new RetroSystem(retro, database, found.source, { k, neighbours, part, seed });
    const plain = plainSystem(base);
    opened.push(system, plain);
    const segments = dev && [...segmentsOf(dev, window)];
    const subject = retroSubject({
      ...{ retro, base: model, windows, database, part, compute },
      evaluation: segments && { segments, system, plain },
      keep: async (metrics, { step }) =>
        await saveRetro(join(out, MODEL), retro, {
          base: folder,
          facts: {
            training: {
              step,
              metrics,
              data: settings.data,
              passageData: settings.passageData ?? settings.data,
            },
          },
        }),
    });
    const result = await run.train(subject, {
      ...{ settings, fingerprint, model: base, lengths },
      begin: () => lists.store(),
    });
    return { ...result, model: join(out, MODEL), settings };
  } finally {
    for (const each of opened.reverse()) await each.dispose();
  }
}

/** Shape of the added parts, by the settings of a run. */
const shapeOf = ({ chunkTokens, chunkNeighbours, crossLayers, encoderLayers }: RetroSettings) => ({
  chunkTokens,
  encoderLayers,
  ...(chunkNeighbours && { neighbours: chunkNeighbours }),
  ...(crossLayers && { crossLayers }),
});

function windowOf({ window, chunkTokens }: RetroSettings, maxTokens = Number.POSITIVE_INFINITY): number {
  const most = Math.floor(maxTokens / chunkTokens) * chunkTokens;
  if (most < 2 * chunkTokens) {
    throw new UsageError(`the model reads ${maxTokens} tokens, less than two chunks of ${chunkTokens}`, {
      help: `lower ${option('chunkTokens')}`,
    });
  }
  const tokens = window ?? Math.min(CHUNKS_PER_WINDOW * chunkTokens, most);
  if (tokens % chunkTokens === 0 && tokens >= 2 * chunkTokens && tokens <= most) return tokens;
  throw new UsageError(
    `${option('window', tokens)} must be a multiple of ${option('chunkTokens', chunkTokens)}, from ${2 * chunkTokens} to ${most}`,
  );
}

async function readCorpus(
  source: string | DataInMemory,
  tokenizer: Tokenizer,
  { columns, skipBadRows }: RetroSettings,
  { callbacks, limitTokens }: { callbacks: TrainCallbacks; limitTokens: number | undefined },
): Promise<TokenCorpus> {
  const { onProgress, onNote } = callbacks;
  const documents = streamTextCorpus(source, {
    ...(columns && { columns }),
    ...{ skipBadRows, onProgress, onNote },
  });
  return await tokenizeCorpus(documents, tokenizer, { limitTokens, onProgress });
}

/** Finds the neighbours of all chunks, or reads them where they are stored. `store` keeps them with a run that begins. */
async function neighboursOf(
  { out, neighbourFile }: RetroSettings,
  parts: {
    chunks: ChunkDatabase;
    database: ChunkDatabase;
    found: NeighbourSource;
    k: number;
    begun: boolean;
  },
  { onProgress }: TrainCallbacks,
): Promise<{ lists: NeighbourLists; store(): Promise<void> }> {
  const { chunks, database, found, k, begun } = parts;
  const identity = neighbourIdentity(chunks, database, { source: found.name, rules: found.rules, k });
  const find = () =>
    findNeighbours(found.source, chunks.size, (row) => chunkQuery(chunks, row), { k, onProgress });
  if (neighbourFile) {
    return { lists: await storedNeighbours(neighbourFile, identity, find), store: async () => {} };
  }
  const file = join(out, NEIGHBOURS);
  const lists = await storedNeighbours(begun && existsSync(file) ? file : undefined, identity, find);
  return { lists, store: () => writeNeighbours(file, identity, lists) };
}

/** Windows of documents, to measure their perplexity. */
function* segmentsOf({ ids, tokens }: TokenCorpus, window: number) {
  for (let row = 0; row < tokens.rows; row++) {
    yield* windowsOf(Int32Array.from(tokens.tokens(row)), { window, stride: window }, ids.get(row));
  }
}
