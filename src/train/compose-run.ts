import { checkDevice } from '../runtime/check-device.ts';
import { checkPrecision } from '../runtime/check-precision.ts';
import type { TRAIN_COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import type { ComputeOptions, Precision } from '../runtime/devices.ts';
import type { GradientMemory } from '../runtime/gradients.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { GivenOptions } from '../util/option-table.ts';
import { stoppedWhilePreparing, type TrainCallbacks } from './callbacks.ts';
import type { FOLDER_OPTIONS } from './options.ts';
import { type RunResult, runTraining } from './run.ts';
import { inRunFolder, type RunProgress, runIdentity, startRun } from './run-folder.ts';
import type { AnySettings } from './settings.ts';
import type { RunOptions, Subject } from './subject.ts';

/** Run whose folder is locked, while it is prepared. */
export interface PreparedRun {
  /** Device and threads for compiling programs. */
  readonly compute: ComputeOptions;
  /** Use of memory by gradients. */
  readonly memory: GradientMemory;
  /** Progress of the run in the folder. */
  readonly progress: RunProgress;
  /** Whether the run began earlier: its settings are stored, and are to be checked. */
  readonly begun: boolean;
  /** Callbacks to prepare with: until training begins, an aborted run stops at its next report of progress. */
  readonly callbacks: TrainCallbacks;
  /** Trains the subject. */
  train<Batch>(subject: Subject<Batch>, parts: TrainedParts): Promise<RunResult>;
}

/** Facts about a run that are known when its subject is. */
export interface TrainedParts {
  /** Settings with all defaults, which are stored. */
  readonly settings: AnySettings;
  /** Fingerprint of the data. */
  readonly fingerprint: string;
  /** Model whose tokenizer is stored. */
  readonly model: { readonly tokenizer: Tokenizer };
  /** Updates and batches of the run. */
  readonly lengths: { readonly totalSteps: number; readonly totalBatches: number };
  /** Writes further files with which a run begins, after its settings. Default: nothing. */
  readonly begin?: (() => Promise<void>) | undefined;
}

/**
 * Prepares a run of any kind and does its work, with its folder locked.
 *
 * @param given.asked  settings as far as the options say them
 * @param given.command  command that trains such a run, for messages: `train`
 * @param work  loads data and model, and calls `train`
 * @throws UsageError for a device or a precision that the machine does not have, and as `inRunFolder`
 */
export async function composeRun<R>(
  options: GivenOptions<typeof TRAIN_COMPUTE_OPTIONS & typeof FOLDER_OPTIONS>,
  { asked, command }: { asked: AnySettings & { readonly precision?: unknown }; command: string },
  given: TrainCallbacks,
  work: (run: PreparedRun) => Promise<R>,
): Promise<R> {
  const { device, threads, gradientCheckpointing = false } = options;
  const compute: ComputeOptions = { ...(device && { device }), ...(threads && { threads }) };
  const { out } = asked;
  await checkDevice(compute);
  await checkPrecision((asked.precision ?? 'f32') as Precision, compute);
  return await inRunFolder(out, options, async (progress) => {
    const { callbacks, trainingBegins } = stoppedWhilePreparing(given);
    const begun = progress !== 'new';
    if (options.resume && !begun)
      given.onNote?.('the run was stopped before it had written its settings: it begins anew');
    return await work({
      ...{ compute, memory: { gradientCheckpointing }, progress, begun, callbacks },
      train: (subject, { settings, fingerprint, model, lengths, begin }) =>
        runTraining(
          subject,
          {
            ...runOptions(settings),
            folder: out,
            compute,
            gradientCheckpointing,
            resume: begun,
            identity: runIdentity(settings, fingerprint),
            begin: async () => {
              await startRun(out, settings, fingerprint, model);
              await begin?.();
            },
            trainingBegins,
            resumeCommand: `undrift ${command} --out ${out} --resume`,
            ...lengths,
          },
          callbacks,
        ),
    });
  });
}

/** Options of a run from its settings, in which null stands for an option that is not given. */
const runOptions = (settings: AnySettings): Pick<RunOptions, 'lr'> & Partial<RunOptions> =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, value ?? undefined])) as Pick<
    RunOptions,
    'lr'
  >;
