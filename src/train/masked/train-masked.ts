import { join } from 'node:path';
import { findModel } from '../../models/folder/find-model.ts';
import { createMaskedLanguageModel } from '../../models/masked/create-masked-language-model.ts';
import { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { TunedMaskedLanguageModel } from '../../models/masked/tuned-masked-language-model.ts';
import { describeTuning } from '../../models/retriever/tuning.ts';
import { parameterCount } from '../../nn/parameters.ts';
import { chooseTokens } from '../../text/mask-tokens.ts';
import { TextPieces } from '../../text/text-pieces.ts';
import { wordContinuations } from '../../text/word-continuations.ts';
import { DataError } from '../../util/errors.ts';
import { evenlySpaced } from '../../util/evenly-spaced.ts';
import { count } from '../../util/format.ts';
import { rngKey } from '../../util/rng.ts';
import { SpillFile } from '../../util/spill-file.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import { openTextRun } from '../language-model/open-text-run.ts';
import { checkWindow, runTokenizer } from '../language-model/run-tokenizer.ts';
import type { RunTexts } from '../language-model/texts.ts';
import { randomBatcher } from '../language-model/window-batcher.ts';
import { WindowBatches } from '../language-model/window-batches.ts';
import { tuningOf } from '../make-retriever.ts';
import type { RunResult } from '../run.ts';
import { completeRun, MODEL } from '../run-folder.ts';
import { lengthOf } from '../run-plan.ts';
import { MASKED_NEW_MODEL, type MaskedTrainOptions } from './options.ts';
import { type MaskedSettings, resolveMaskedSettings } from './settings.ts';
import { type MaskedBatch, maskedSubject } from './subject.ts';

/** Result of training a masked language model. */
export interface MaskedTrainResult extends RunResult {
  /** Folder of the best model by its loss, or of the last model where nothing was evaluated. */
  readonly model: string;
  /** Number of parameters of the model. */
  readonly parameters: number;
  /** Settings of the run, with defaults filled in. */
  readonly settings: MaskedSettings;
}

/**
 * Trains a masked language model, such as BERT, and writes a model folder that `MaskedLanguageModel.load`, `loadRetriever` and transformers
 * (`AutoModelForMaskedLM`) read:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/
 *
 * Documents are cut into pieces. In each epoch, `maskShare` of the tokens of a piece are chosen anew and predicted (see `chooseTokens`).
 *
 * The same options, texts and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed.
 *
 * @param given  functions to call during training
 * @throws UsageError for options that are unknown, out of range or contradict each other, and for a folder that holds no masked language
 *   model
 * @throws DataError with file and line for invalid texts
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 * @paper Devlin et al. 2019: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
 */
export async function trainMasked(
  options: MaskedTrainOptions,
  given: TrainCallbacks = {},
): Promise<MaskedTrainResult> {
  const asked = resolveMaskedSettings(options);
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
  options: MaskedTrainOptions,
  { asked, run, spill }: { asked: MaskedSettings; run: PreparedRun; spill: SpillFile },
): Promise<MaskedTrainResult> {
  const { compute, callbacks } = run;
  const { onNote } = callbacks;
  const { out } = asked;
  const isNew = (model: string) => model === MASKED_NEW_MODEL;
  const { settings, texts, fromRun } = await openTextRun(options, asked, { run, isNew });
  const { fingerprint } = texts;
  const tuned = await makeModel(settings, texts, { fromRun, ...callbacks });
  const { model } = tuned;
  try {
    const { tokens, train: rows, evaluation: held } = await texts.tokenize(model.tokenizer, spill);
    const pieces = piecesOf({ tokens, rows }, model, settings);
    if (pieces.count === 0) throw new DataError('the texts have no token to predict', { file: texts.name });
    const batcher = randomBatcher(pieces.lengths, settings);
    const batches = new WindowBatches(new MaskedBatches(pieces, model, settings), batcher);
    const evaluation = held ? evaluationBatches(piecesOf(held, model, settings), model, settings) : [];
    const lengths = lengthOf(settings, batches);
    const parameters = parameterCount(model.specs);
    onNote?.(
      `${count(texts.documents)} documents in ${count(pieces.count)} pieces; ${count(parameters)} parameters, ` +
        `${count(lengths.totalSteps)} steps of ${count(settings.batchSize * settings.accumulate)} pieces`,
    );
    if (texts.heldOutNote && evaluation.length > 0) onNote?.(texts.heldOutNote);
    const trained = describeTuning(tuned);
    if (trained) onNote?.(trained);
    if (evaluation.length === 0) onNote?.('no evaluation: the last model is kept, not the best');
    const subject = maskedSubject({ settings, tuned, texts, batches, evaluation, compute });
    if (fromRun) await completeRun(out, model);
    const result = await run.train(subject, { settings, fingerprint, model, lengths });
    return { ...result, model: join(out, MODEL), parameters, settings };
  } finally {
    await model.dispose();
  }
}

/** Makes the model that a run starts from: a given one, or a new BERT, whose vocabulary is given or trained on the texts. */
async function makeModel(
  settings: MaskedSettings,
  texts: RunTexts,
  {
    fromRun,
    onNote,
    onProgress,
  }: { fromRun: string | undefined } & Pick<TrainCallbacks, 'onNote' | 'onProgress'>,
): Promise<TunedMaskedLanguageModel> {
  const { model: named, window, seed, hidden, layers, heads, intermediate } = settings;
  if (named !== MASKED_NEW_MODEL) {
    const folder = await findModel(named, [MASKED_NEW_MODEL], { onProgress, onNote });
    const model = await MaskedLanguageModel.load(folder, {
      newHead: seed,
      onNote: (note) => onNote?.(note),
    });
    checkWindow(settings, model.maxTokens);
    return new TunedMaskedLanguageModel(model, tuningOf(settings));
  }
  const tokenizer = await runTokenizer(settings, texts, { fromRun, kind: { model: 'wordpiece' } });
  const shape = { hidden: hidden!, layers: layers!, heads: heads ?? undefined };
  return new TunedMaskedLanguageModel(
    createMaskedLanguageModel({
      ...{ tokenizer, seed, maxTokens: window },
      ...shape,
      intermediate: intermediate ?? undefined,
    }),
  );
}

/** Cuts texts into pieces that fill the window with their special tokens. */
const piecesOf = (
  {
    tokens,
    rows,
  }: { readonly tokens: ConstructorParameters<typeof TextPieces>[0]; readonly rows: Int32Array },
  { tokenizer }: MaskedLanguageModel,
  { window }: MaskedSettings,
): TextPieces =>
  new TextPieces(tokens, {
    most: window - tokenizer.wrapperTokens,
    continues: wordContinuations(tokenizer),
    rows,
  });

/** Maker of batches: pieces of texts with chosen tokens. */
class MaskedBatches {
  readonly #pieces: TextPieces;
  readonly #settings: MaskedSettings;
  readonly #model: MaskedLanguageModel;
  /** Tokens among which random ones are drawn: all but the special ones. */
  readonly #drawn: Int32Array;

  constructor(pieces: TextPieces, model: MaskedLanguageModel, settings: MaskedSettings) {
    const { tokenizer } = model;
    const special = new Set([...tokenizer.specialTokens].map((token) => tokenizer.tokenId(token)));
    const all = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
    this.#pieces = pieces;
    this.#model = model;
    this.#settings = settings;
    this.#drawn = Int32Array.from(all.filter((id) => !special.has(id)));
  }

  /** @param purpose  purpose of the random numbers, which a batch and an evaluation do not share */
  batch(chosen: ArrayLike<number>, draw: number, purpose = 'masked'): MaskedBatch {
    const { seed, maskShare: share } = this.#settings;
    const { maskId: mask, tokenizer } = this.#model;
    const { before, after } = tokenizer.wrapper;
    return Array.from(chosen, (piece, i) => {
      const tokens = this.#pieces.tokens(piece);
      const key = rngKey(purpose === 'masked' ? seed : 0, draw, `${purpose}/${i}`);
      const { ids, places, answer } = chooseTokens(tokens, key, { share, mask, drawn: this.#drawn });
      const whole = Int32Array.of(...before, ...ids, ...after);
      return {
        ids: whole,
        types: new Int32Array(whole.length),
        places: places.map((place) => place + before.length),
        answer,
      };
    });
  }
}

/** Makes the batches to evaluate on: evenly spaced pieces, with masks that do not depend on the seed of the run. */
function evaluationBatches(
  pieces: TextPieces,
  model: MaskedLanguageModel,
  settings: MaskedSettings,
): MaskedBatch[] {
  const { evalTokens, batchSize } = settings;
  const total = pieces.lengths.reduce((sum, each) => sum + each, 0);
  if (total === 0) return [];
  const picked = Math.max(1, Math.floor(Math.min(1, evalTokens / total) * pieces.count));
  const chosen = evenlySpaced([...pieces.lengths.keys()], picked);
  const maker = new MaskedBatches(pieces, model, settings);
  return Array.from({ length: Math.ceil(picked / batchSize) }, (_, i) =>
    maker.batch(chosen.slice(i * batchSize, (i + 1) * batchSize), i, 'evaluation'),
  );
}
