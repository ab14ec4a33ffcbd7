import { join } from 'node:path';
import { describeTuning } from '../../models/retriever/tuning.ts';
import { parameterCount } from '../../nn/parameters.ts';
import type { GradientMemory } from '../../runtime/gradients.ts';
import { PackedWindows } from '../../text/packed-windows.ts';
import { DataError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { SpillFile } from '../../util/spill-file.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import type { RunResult } from '../run.ts';
import { completeRun, MODEL } from '../run-folder.ts';
import { lengthOf } from '../run-plan.ts';
import { explainingMemory, orCheckpointing } from '../step-memory.ts';
import { documentTokens, makeLanguageModel } from './make-language-model.ts';
import { openTextRun } from './open-text-run.ts';
import type { LanguageModelTrainOptions } from './options.ts';
import { isNewLanguageModel, type LanguageModelSettings, resolveLanguageModelSettings } from './settings.ts';
import { languageModelSubject } from './subject.ts';
import { WindowBatches } from './window-batches.ts';
import { nextTokenTraining, type WindowTraining } from './window-training.ts';

/** Result of training a language model. */
export interface LanguageModelTrainResult extends RunResult {
  /** Folder of the best model by its perplexity, or of the last model where nothing was evaluated. */
  readonly model: string;
  /** Number of parameters of the model, adapters excluded. */
  readonly parameters: number;
  /** Settings of the run, with defaults filled in. */
  readonly settings: LanguageModelSettings;
}

/**
 * Trains a language model on texts to predict the next token, and writes a model folder that `LanguageModel.load` and transformers
 * (`AutoModelForCausalLM`) read:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/  and with LoRA adapter/
 *
 * Documents begin and end with the special tokens of the tokenizer. Each is cut into windows, as `PackedWindows` does it, so that in
 * one epoch every token is predicted exactly once, after tokens of its own document only. Memory is bounded: texts are streamed, and
 * their tokens lie in a file in `out`.
 *
 * The same options, texts and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed.
 *
 * @param given  functions to call during training
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws DataError with file and line for invalid texts
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 */
export async function trainLanguageModel(
  options: LanguageModelTrainOptions,
  given: TrainCallbacks = {},
): Promise<LanguageModelTrainResult> {
  return await trainOnWindows(nextTokenTraining, options, given);
}

/**
 * Trains a language model on windows of texts in any way.
 *
 * @param training  way of training: its loss, its batches and its own options
 * @throws as `trainLanguageModel`
 */
export async function trainOnWindows(
  training: WindowTraining,
  options: LanguageModelTrainOptions,
  given: TrainCallbacks = {},
): Promise<LanguageModelTrainResult> {
  const asked = resolveLanguageModelSettings(options, training);
  return await composeRun(options, { asked, command: 'lm train' }, given, async (run) => {
    const spill = SpillFile.create(asked.out);
    try {
      return await train(training, options, { asked, run, spill });
    } finally {
      spill.close();
    }
  });
}

/** Trains in a folder that no other process writes. */
async function train(
  training: WindowTraining,
  options: LanguageModelTrainOptions,
  { asked, run, spill }: { asked: LanguageModelSettings; run: PreparedRun; spill: SpillFile },
): Promise<LanguageModelTrainResult> {
  const { compute, callbacks } = run;
  const { onNote } = callbacks;
  const { out, window, batchSize } = asked;
  const isNew = isNewLanguageModel;
  const { settings, texts, fromRun } = await openTextRun(options, asked, { run, isNew });
  const { fingerprint } = texts;
  const tuned = await makeLanguageModel(settings, texts, { fromRun, ...callbacks });
  const { model: language } = tuned;
  try {
    const tokens = await texts.tokenize(language.tokenizer, spill);
    const packing = { window, ...documentTokens(language) };
    const windows = new PackedWindows(tokens.tokens, {
      ...packing,
      rows: tokens.train,
      share: training.shares(settings),
    });
    if (windows.count === 0) throw new DataError('the texts have no token to predict', { file: texts.name });
    const evaluation =
      tokens.evaluation &&
      new PackedWindows(tokens.evaluation.tokens, { ...packing, rows: tokens.evaluation.rows });
    const { tokenizer } = language;
    const batcher = training.batcher(windows, { settings, tokenizer, ...callbacks });
    const batches = new WindowBatches(windows, batcher);
    const lengths = lengthOf(settings, batches);
    const parameters = parameterCount(language.specs);
    onNote?.(
      `${count(texts.documents)} documents, ${count(windows.predictions)} tokens to predict in ${count(windows.count)} windows; ` +
        `${count(parameters)} parameters, ${count(lengths.totalSteps)} steps of ${count(batchSize * settings.accumulate)} windows`,
    );
    if (texts.heldOutNote && evaluation) onNote?.(texts.heldOutNote);
    const trained = describeTuning(tuned);
    if (trained) onNote?.(trained);
    if (!evaluation?.count) onNote?.('no evaluation: the last model is kept, not the best');
    const subject = languageModelSubject({
      ...{ settings, tuned, texts, batches, training, compute },
      loss: training.loss(settings, lengths.totalBatches),
      evaluation: evaluation?.count ? evaluation : undefined,
    });
    if (fromRun) await completeRun(out, language);
    const result = await withRemedy(settings, run.memory, () =>
      run.train(subject, { settings, fingerprint, model: language, lengths }),
    );
    return { ...result, model: join(out, MODEL), parameters, settings };
  } finally {
    await language.dispose();
  }
}

/** Runs training. Memory that runs out becomes an error that says what needs less. */
const withRemedy = <R>(
  { batchSize, window }: LanguageModelSettings,
  memory: GradientMemory,
  train: () => Promise<R>,
): Promise<R> =>
  explainingMemory(train, () => ({
    batches: `batches of ${batchSize} windows of ${window} tokens`,
    help: `take ${orCheckpointing(memory)}${option('batchSize', Math.max(1, Math.floor(batchSize / 2)))} with ${option('accumulate', 2)}, or a shorter ${option('window')}`,
  }));
