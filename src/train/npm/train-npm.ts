import { join } from 'node:path';
import { findModel } from '../../models/folder/find-model.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { createRetriever } from '../../models/retriever/create-retriever.ts';
import { type MaskedEncoder, maskedEncoder } from '../../models/retriever/masked-encoder.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import { describeTuning, tuned } from '../../models/retriever/tuning.ts';
import { parameterCount } from '../../nn/parameters.ts';
import { MASKED_SHARE, maskableShare } from '../../text/mask-spans.ts';
import { SharedPhrases } from '../../text/shared-phrases.ts';
import { TextPieces } from '../../text/text-pieces.ts';
import { DataError } from '../../util/errors.ts';
import { evenlySpaced } from '../../util/evenly-spaced.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { rngKey } from '../../util/rng.ts';
import { SpillFile } from '../../util/spill-file.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import { openTextRun } from '../language-model/open-text-run.ts';
import { checkWindow, runTokenizer } from '../language-model/run-tokenizer.ts';
import type { RunTexts, RunTokens } from '../language-model/texts.ts';
import { documentGroups, groupBatcher, randomBatcher } from '../language-model/window-batcher.ts';
import { WindowBatches } from '../language-model/window-batches.ts';
import { tuningOf } from '../make-retriever.ts';
import type { RunResult } from '../run.ts';
import { completeRun, MODEL } from '../run-folder.ts';
import { lengthOf } from '../run-plan.ts';
import { NEW_MODELS } from '../settings.ts';
import { NPM_NEW_MODEL, type NpmTrainOptions } from './options.ts';
import { type NpmSettings, resolveNpmSettings } from './settings.ts';
import { type SpanBatch, spanBatch } from './span-batch.ts';
import { npmSubject } from './subject.ts';

/** Result of training a nonparametric masked language model. */
export interface NpmTrainResult extends RunResult {
  /** Folder of the best model by its loss, or of the last model where nothing was evaluated. */
  readonly model: string;
  /** Number of parameters of the model, adapters excluded. */
  readonly parameters: number;
  /** Settings of the run, with defaults filled in. */
  readonly settings: NpmSettings;
}

/** Share of the tokens of a group that can be masked at least; groups with less are left out. */
const LEAST_MASKABLE = 0.05;

/**
 * Trains an encoder as a nonparametric masked language model (NPM) and writes a model folder that `loadRetriever`, for `PhraseIndex`, and
 * transformers (`AutoModel`) read:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/  and with LoRA adapter/
 *
 * Documents are cut into pieces. The pieces of a batch are of one document, or of a few. Spans that another piece of their document has too are
 * replaced by two masks, and the model learns to find them there by their first and last tokens (see `phraseLoss` and `drawSpans`). Groups of pieces in which
 * less than 5 % of the tokens can be masked are left out.
 *
 * The same options, texts and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed.
 *
 * @param given  functions to call during training
 * @throws UsageError for options that are unknown, out of range or contradict each other, and for a model that reads no masks
 * @throws DataError with file and line for invalid texts, and where no document repeats a phrase
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export async function trainNpm(
  options: NpmTrainOptions,
  given: TrainCallbacks = {},
): Promise<NpmTrainResult> {
  const asked = resolveNpmSettings(options);
  return await composeRun(options, { asked, command: 'lm train' }, given, async (run) => {
    const spill = SpillFile.create(asked.out);
    try {
      return await train(options, { asked, run, spill });
    } finally {
      spill.close();
    }
  });
}

/** Trains in a folder that no other process writes. */
async function train(
  options: NpmTrainOptions,
  { asked, run, spill }: { asked: NpmSettings; run: PreparedRun; spill: SpillFile },
): Promise<NpmTrainResult> {
  const { compute, callbacks } = run;
  const { onNote } = callbacks;
  const { out } = asked;
  const isNew = (model: string) => model === NPM_NEW_MODEL;
  const { settings, texts, fromRun } = await openTextRun(options, asked, { run, isNew });
  const { fingerprint } = texts;
  const retriever = await makeEncoder(settings, texts, { fromRun, ...callbacks });
  try {
    const model = maskedEncoder(retriever);
    const tokens = await texts.tokenize(model.tokenizer, spill);
    const { batches, note } = trainingBatches(tokens, model, settings, texts.name);
    const evaluation = evaluationBatches(tokens, model, settings);
    const lengths = lengthOf(settings, batches);
    const parameters = parameterCount(retriever.specs);
    onNote?.(
      `${count(texts.documents)} documents, ${note}; ${count(parameters)} parameters, ${count(lengths.totalSteps)} steps`,
    );
    if (texts.heldOutNote && evaluation.length > 0) onNote?.(texts.heldOutNote);
    const trained = describeTuning(retriever);
    if (trained) onNote?.(trained);
    if (evaluation.length === 0) onNote?.('no evaluation: the last model is kept, not the best');
    const subject = npmSubject({ settings, retriever, model, texts, batches, evaluation, compute });
    if (fromRun) await completeRun(out, retriever);
    const result = await run.train(subject, { settings, fingerprint, model: retriever, lengths });
    return { ...result, model: join(out, MODEL), parameters, settings };
  } finally {
    await retriever.dispose();
  }
}

/** Makes the encoder that a run starts from: a given one, or a new BERT, whose vocabulary is given or trained on the texts. */
async function makeEncoder(
  settings: NpmSettings,
  texts: RunTexts,
  {
    fromRun,
    onNote,
    onProgress,
  }: { fromRun: string | undefined } & Pick<TrainCallbacks, 'onNote' | 'onProgress'>,
): Promise<Retriever> {
  const { model, window, seed, hidden, layers, heads } = settings;
  if (model !== NPM_NEW_MODEL) {
    const folder = await findModel(model, NEW_MODELS, { onProgress, onNote });
    const given = await loadRetriever(folder, { seed, onNote: (note) => onNote?.(note) });
    checkWindow(settings, given.encoder.maxTokens);
    return tuned(given, tuningOf(settings));
  }
  const tokenizer = await runTokenizer(settings, texts, { fromRun, kind: { model: 'wordpiece' } });
  return createRetriever({
    ...{ kind: 'transformer', tokenizer, seed, maxQueryTokens: window, maxDocTokens: window },
    ...{ hidden: hidden!, layers: layers! },
    ...(heads !== null && { heads }),
  });
}

/** Cuts texts into pieces that fit the window with their masks: a masked word takes two places. */
function piecesOf(
  { tokens, rows }: { readonly tokens: RunTokens['tokens']; readonly rows: Int32Array },
  { tokenizer, continues }: MaskedEncoder,
  { window }: NpmSettings,
): TextPieces {
  const most = Math.floor((window - tokenizer.wrapperTokens) / (1 + MASKED_SHARE));
  return new TextPieces(tokens, { most, continues, rows });
}

/** Groups of pieces of one document in which enough tokens can be masked. */
function maskableGroups(pieces: TextPieces, model: MaskedEncoder, { batchSize }: NpmSettings): number[][] {
  const { continues, excluded } = model;
  return documentGroups(pieces.rows, batchSize).filter((group) => {
    const phrases = new SharedPhrases(
      group.map((piece) => pieces.tokens(piece)),
      { excluded },
    );
    return maskableShare(phrases, continues) >= LEAST_MASKABLE;
  });
}

/** Makes the batches to train on, and words on them. */
function trainingBatches(
  { tokens, train }: RunTokens,
  model: MaskedEncoder,
  settings: NpmSettings,
  file: string,
): { batches: WindowBatches<SpanBatch>; note: string } {
  const pieces = piecesOf({ tokens, rows: train }, model, settings);
  const { batching, batchSize, batchDocuments, seed } = settings;
  const groups = maskableGroups(pieces, model, settings);
  if (groups.length === 0) {
    throw new DataError('no document repeats a phrase between two of its pieces', {
      file,
      help: `give longer documents, or a shorter ${option('window')}: each document is cut into pieces of at most that many tokens`,
    });
  }
  const isRandom = batching === 'random';
  const batcher = isRandom
    ? randomBatcher(pieces.lengths, { batchSize, seed })
    : groupBatcher(groups, { seed, share: batchDocuments ?? 1 });
  const source = {
    batch: (chosen: ArrayLike<number>, draw: number) =>
      spanBatch(
        Array.from(chosen, (piece) => pieces.tokens(piece)),
        model,
        rngKey(seed, draw, 'npm/spans'),
        (batchDocuments ?? 1) > 1 ? Array.from(chosen, (piece) => pieces.rows[piece]!) : undefined,
      ),
  };
  const note = isRandom
    ? `${count(pieces.count)} pieces in ${count(batcher.perEpoch)} random groups`
    : `${count(groups.reduce((sum, { length }) => sum + length, 0))} of ${count(pieces.count)} pieces in ${count(groups.length)} groups that repeat phrases`;
  return { batches: new WindowBatches(source, batcher), note };
}

/** Makes the batches to evaluate on: groups of one document, evenly spaced, with spans that do not depend on the seed of the run. */
function evaluationBatches(
  { evaluation }: RunTokens,
  model: MaskedEncoder,
  settings: NpmSettings,
): SpanBatch[] {
  if (evaluation === undefined) return [];
  const pieces = piecesOf(evaluation, model, settings);
  const groups = maskableGroups(pieces, model, settings);
  const size = (group: readonly number[]) => group.reduce((sum, piece) => sum + pieces.lengths[piece]!, 0);
  const total = groups.reduce((sum, group) => sum + size(group), 0);
  const picked = Math.max(1, Math.floor(Math.min(1, settings.evalTokens / total) * groups.length));
  return evenlySpaced(groups, picked)
    .map((group, i) =>
      spanBatch(
        group.map((piece) => pieces.tokens(piece)),
        model,
        rngKey(0, i, 'npm/evaluation'),
      ),
    )
    .filter(({ spans }) => spans > 0);
}
