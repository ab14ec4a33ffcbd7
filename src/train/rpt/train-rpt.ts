import { join } from 'node:path';
import type { DataInMemory } from '../../data/data-in-memory.ts';
import { streamTextCorpus, type TextDocument } from '../../data/text-corpus.ts';
import { type TokenCorpus, tokenizeCorpus } from '../../data/token-corpus.ts';
import { findModel, pinModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { type ChunkChoice, gradedChunks, randomChunks, similarChunks } from '../../rlm/chunk-choice.ts';
import { type ChunkGrader, lexicalGrader, ReferenceGrader } from '../../rlm/chunk-grades.ts';
import { documentSegments } from '../../rlm/evaluate-text.ts';
import type { Segment } from '../../rlm/language-system.ts';
import { plainSystem } from '../../rlm/plain-system.ts';
import { RptModel, saveRpt } from '../../rlm/rpt.ts';
import type { RptConfig } from '../../rlm/rpt-config.ts';
import { RptSystem } from '../../rlm/rpt-system.ts';
import { DataError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import { textRunCard } from '../language-model/text-run-card.ts';
import { longBatcher } from '../language-model/window-batcher.ts';
import { WindowBatches } from '../language-model/window-batches.ts';
import { segmentPerplexity } from '../retro/retro-subject.ts';
import type { RunResult } from '../run.ts';
import { checkResumed, MODEL, SCORES } from '../run-folder.ts';
import { lengthOf } from '../run-plan.ts';
import { LongTexts } from './long-texts.ts';
import type { RptTrainOptions } from './options.ts';
import { RptBatches, type SequenceLabels } from './rpt-batches.ts';
import { rptSubject } from './rpt-subject.ts';
import { RptSchedules } from './schedules.ts';
import { needsReference, RPT_METHOD, type RptSettings, resolveRptSettings } from './settings.ts';

/** Result of training RPT. */
export interface RptTrainResult extends RunResult {
  /** Folder of the best model by perplexity, or of the last one where nothing was evaluated. */
  readonly model: string;
  /** Number of parameters of the base and of the added parts. */
  readonly parameters: number;
  /** Settings of the run, with defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Windows in a long sequence, by default. */
const WINDOWS_PER_SEQUENCE = 16;
/** Words for the model card. */
const DESCRIPTION =
  'trained to predict the next token with chunks of the text that it retrieves itself, beyond the reach of its attention (RPT)';

/**
 * Trains a retrieval-pretrained transformer (RPT) from a language model and writes a model folder that `loadRpt` reads:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  scores/  model/
 *
 * Documents are cut into long sequences, and these into windows and chunks. Each chunk reads chunks of its sequence that lie before its
 * window. Before training, the candidates of each chunk are graded by a reference model, unless BM25 scores are the grades; the retriever inside
 * the model learns to rank them so.
 *
 * The same options, data and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed. Grades are kept in `scores/`: grading that is stopped goes on where it was.
 *
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421
 */
export async function trainRpt(
  options: RptTrainOptions,
  given: TrainCallbacks = {},
): Promise<RptTrainResult> {
  const asked = resolveRptSettings(options);
  return await composeRun(options, { asked, command: 'lm train' }, given, (run) =>
    train(options, asked, run),
  );
}

/** Trains in a folder that no other process writes. */
async function train(
  options: RptTrainOptions,
  asked: RptSettings,
  run: PreparedRun,
): Promise<RptTrainResult> {
  const { begun, compute, callbacks } = run;
  const { onProgress, onNote } = callbacks;
  const { out, seed } = asked;
  const pin = async (model: string, name: string) =>
    await pinModel(model, { option: name, onProgress, onNote });
  const model = await pin(asked.model, 'model');
  const reference = needsReference(asked)
    ? await pin(asked.reference ?? asked.model, 'reference')
    : undefined;
  const load = async (source: string, name: string) =>
    await LanguageModel.load(await findModel(source, [], { option: name, onProgress, onNote }), {
      ...(onNote && { onNote }),
    });
  const base = await load(model, 'model');
  const opened: { dispose(): Promise<void> }[] = [base];
  try {
    const rpt = RptModel.create(base, configOf(asked), { seed });
    const { config } = rpt.wing;
    const { chunkTokens, window, stride } = config;
    const sequence = asked.sequence ?? WINDOWS_PER_SEQUENCE * window;
    const settings = { ...asked, ...{ model, reference, window, stride, sequence } };
    const { tokenizer } = base;
    const corpus = await readCorpus(options.data, base, settings, callbacks);
    const dev =
      options.evalData === undefined
        ? undefined
        : await readSegments(options.evalData, base, settings, callbacks);
    const fingerprint = [corpus.fingerprint, ...(dev ? [dev.fingerprint] : [])].join('+');
    if (begun) await checkResumed(out, settings, fingerprint);

    const texts = new LongTexts(corpus, { tokenizer, config, sequence });
    if (texts.count === 0) throw tooShort(settings);
    let grader: ChunkGrader | undefined;
    if (reference !== undefined) {
      const referenceModel = await load(reference, 'reference');
      opened.push(referenceModel);
      grader = await ReferenceGrader.create(referenceModel, {
        ...{ tokenizer, chunkTokens, ...compute, candidates: settings.chunkCandidates },
        cache: settings.scoreCache ?? join(out, SCORES),
      });
    }
    const labels = await labelsOf(texts, settings, { config, grader, onProgress });
    const batcher = longBatcher(texts.sequences, settings);
    const perEpoch = { perEpoch: batcher.perEpoch };
    const lengths = lengthOf({ ...settings, steps: settings.steps ?? null }, perEpoch);
    const schedules = new RptSchedules(settings, lengths.totalBatches);
    const batches = new WindowBatches(new RptBatches(texts, labels, { config, schedules, seed }), batcher);
    const specs = rpt.specs();
    const parameters = specs.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    onNote?.(
      `${count(texts.count)} sequences of ${count(texts.tokens)} tokens in ${count(texts.sequences.length)} windows` +
        `${texts.left > 0 ? `; ${count(texts.left)} shorter ones, in which nothing can be retrieved, are left out` : ''}; ` +
        `${count(parameters)} parameters, ${count(lengths.totalSteps)} steps`,
    );
    const system = new RptSystem(rpt, { seed, ...(grader && { oracle: gradedChunks(grader) }) });
    const plain = plainSystem(base);
    opened.push(system, plain);
    const subject = rptSubject({
      ...{ rpt, base: model, batches, compute },
      baseRatio: settings.baseLr / settings.lr,
      frozenBase: settings.baseLr === 0,
      frozenRetriever: settings.retrieval !== 'learned' || settings.rankWeight === 0,
      evaluation: dev && {
        ...{ segments: dev.segments, system },
        base: await segmentPerplexity(plain, dev.segments, compute),
      },
      keep: async (metrics, { step, ledger }) => {
        await grader?.flush?.();
        await saveRpt(join(out, MODEL), rpt, {
          trainedSteps: step,
          card: textRunCard(
            settings,
            { name: settings.data!, documents: corpus.ids.size },
            {
              ...{ kind: 'retrieval-pretrained transformer', fresh: false, metrics, ledger },
              method: { id: RPT_METHOD, description: DESCRIPTION },
            },
          ),
          facts: { training: { step, metrics, data: settings.data } },
        });
      },
    });
    const result = await run.train(subject, { settings, fingerprint, model: base, lengths });
    return { ...result, model: join(out, MODEL), parameters, settings };
  } finally {
    for (const each of opened.reverse()) await each.dispose();
  }
}

/** Shape of the added parts, by the settings of a run. */
const configOf = (settings: RptSettings): Partial<RptConfig> => {
  const { chunkTokens, chunkNeighbours, crossLayers, encoderLayers, retrieval } = settings;
  return {
    ...{ chunkTokens, encoderLayers, retrieval },
    gateFloor: settings.gates ? settings.gateFloor : null,
    ...(chunkNeighbours && { neighbours: chunkNeighbours }),
    ...(crossLayers && { crossLayers }),
    ...(settings.window && { window: settings.window }),
    ...(settings.stride && { stride: settings.stride }),
  };
};

const tooShort = ({ data, window, stride, chunkTokens }: RptSettings): DataError =>
  new DataError('no document is long enough to retrieve from itself', {
    file: data!,
    help:
      `give longer documents, or lower ${option('window', window)}, ${option('stride', stride)} or ` +
      `${option('chunkTokens', chunkTokens)}: a chunk has neighbours if two chunks lie before its window`,
  });

const documentsOf = (
  source: string | DataInMemory,
  { columns, skipBadRows }: RptSettings,
  { onProgress, onNote }: TrainCallbacks,
): AsyncIterable<TextDocument> =>
  streamTextCorpus(source, { ...(columns && { columns }), ...{ skipBadRows, onProgress, onNote } });

async function readCorpus(
  source: string | DataInMemory,
  { tokenizer }: LanguageModel,
  settings: RptSettings,
  callbacks: TrainCallbacks,
): Promise<TokenCorpus> {
  const limitTokens = settings.limitTokens ?? undefined;
  const { onProgress } = callbacks;
  return await tokenizeCorpus(documentsOf(source, settings, callbacks), tokenizer, {
    ...{ limitTokens, onProgress },
  });
}

/** Reads the documents to evaluate on, up to `evalTokens` tokens, in the windows in which `undrift lm eval` reads them. */
async function readSegments(
  source: string | DataInMemory,
  model: LanguageModel,
  settings: RptSettings,
  callbacks: TrainCallbacks,
): Promise<{ readonly segments: Segment[]; readonly fingerprint: string }> {
  const { evalTokens, window, stride } = settings;
  const read: TextDocument[] = [];
  let tokens = 0;
  for await (const document of documentsOf(source, settings, callbacks)) {
    read.push(document);
    tokens += model.tokenizer.encodeRaw(document.text).length;
    if (tokens >= evalTokens) break;
  }
  const windows = { window: window!, stride: stride! };
  const segments = read.flatMap((document) => documentSegments({ model }, document, windows).segments);
  const { fingerprint } = await tokenizeCorpus(read, model.tokenizer);
  return { segments, fingerprint };
}

/** Grades the candidates of all chunks, or chooses their neighbours. */
async function labelsOf(
  texts: LongTexts,
  { retrieval, chunkCandidates, seed }: RptSettings,
  {
    config,
    grader,
    onProgress,
  }: {
    config: RptConfig;
    grader: ChunkGrader | undefined;
    onProgress: TrainCallbacks['onProgress'] | undefined;
  },
): Promise<SequenceLabels> {
  const used = grader ?? lexicalGrader(chunkCandidates);
  const each = async <T>(
    of: (text: ReturnType<LongTexts['text']>, chunk: number, among: number) => Promise<T>,
  ) => {
    const all: T[][] = [];
    for (let sequence = 0; sequence < texts.count; sequence++) {
      const text = texts.text(sequence);
      const list: T[] = [];
      for (const { chunk, among } of texts.chunks(sequence)) list.push(await of(text, chunk, among));
      all.push(list);
      onProgress?.({ stage: 'neighbours', done: sequence + 1, total: texts.count, unit: 'sequences' });
    }
    await used.flush?.();
    return all;
  };
  if (retrieval === 'learned')
    return {
      grades: await each(async (text, chunk, among) => {
        const found = await used.grade(text, chunk, among);
        return found.chunks.length > 0 ? found : undefined;
      }),
    };
  const none: ChunkChoice = async () => new Int32Array(0);
  const choices = {
    ...{ bm25: similarChunks, random: randomChunks(seed), oracle: gradedChunks(used), none },
  };
  const choice: ChunkChoice = choices[retrieval];
  return {
    neighbours: await each((text, chunk, among) => choice(text, chunk, among, config.neighbours)),
  };
}
