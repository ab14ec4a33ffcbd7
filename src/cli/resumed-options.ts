import { IN_MEMORY } from '../data/data-in-memory.ts';
import { methods } from '../methods/methods.ts';
import { languageTrainings } from '../train/language-methods/language-trainings.ts';
import { CROSS_ENCODER_METHOD } from '../train/options.ts';
import { findRunSettings } from '../train/run-folder.ts';
import { UsageError } from '../util/errors.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Options that a run is resumed with. */
interface Resumable {
  readonly out: string;
  readonly data?: string | undefined;
  readonly evalData?: string | undefined;
}

/** Kind of run that a command resumes. */
export interface ResumedKind {
  /** Options that the command passes on. */
  readonly table: OptionTable;
  /** Values of `method` in the settings of such runs. */
  readonly methods: readonly string[];
  /** Function of the library that trains such runs. */
  readonly library: string;
}

/**
 * Merges the stored options of a resumed run with the options given now. Any option given now must equal the stored one.
 *
 * @throws UsageError for a run of another command, and for one that only the program which started it can resume
 */
export async function resumedOptions<O extends Resumable>(
  given: O,
  { table, methods: known, library }: ResumedKind,
): Promise<O> {
  const { out } = given;
  const stored = await findRunSettings(out);
  if (stored === undefined) return checkComplete(given);
  if (!known.includes(stored.method)) throw otherKind(out, stored.method, library);
  const fromMemory = (key: 'data' | 'evalData') => stored[key] === IN_MEMORY && given[key] === undefined;
  if (fromMemory('data') || fromMemory('evalData')) {
    throw new UsageError(`the run in ${out} was trained on data from the memory of a program`, {
      help: `resume it in that program: ${library}({ …, resume: true }); or train on from its model: --model <run> --data <folder> --out <folder>`,
    });
  }
  // Settings stored by another version of the package may no longer exist.
  const kept = Object.fromEntries(
    Object.entries(stored).filter(([key, value]) => value !== null && Object.hasOwn(table, key)),
  );
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  // A run stores both `steps` and `epochs`, but only one of them may be given.
  if ('steps' in kept || 'steps' in own) delete kept.epochs;
  return { ...kept, ...own } as O;
}

/** Makes the error for a run that the command cannot resume. */
function otherKind(out: string, method: string, library: string): UsageError {
  const ofTrain = [CROSS_ENCODER_METHOD, ...methods.map(({ id }) => id)].includes(method);
  const ofLanguageModels = languageTrainings.some(({ id }) => id === method);
  const command = ofTrain ? 'train' : ofLanguageModels ? 'lm train' : undefined;
  if (command !== undefined) {
    return new UsageError(`the run in ${out} was started by undrift ${command}`, {
      help: `resume it with: undrift ${command} --out ${out} --resume`,
    });
  }
  return new UsageError(`the run in ${out} was trained by the method ${method} of a program`, {
    help: `resume it in that program: ${library}({ …, method, resume: true })`,
  });
}

/**
 * Checks the options for a run that was killed before it had written any. With all of its options it begins anew.
 *
 * @throws UsageError where the data is missing
 */
function checkComplete<O extends Resumable>(given: O): O {
  if (given.data !== undefined) return given;
  throw new UsageError(`the run in ${given.out} was stopped before it had written its settings`, {
    help: 'give all of its options again: it begins anew',
  });
}
