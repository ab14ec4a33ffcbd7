import { TASK_OPTIONS } from '../../rlm/evaluation-task.ts';
import type { ControlArm } from '../../rlm/system-spec.ts';
import { COMPARED_OPTIONS, findComparedSystem } from '../../train/language-methods/joint-systems.ts';
import { readJson } from '../../util/files.ts';
import { option } from '../../util/option-name.ts';
import type { GivenValues, OptionTable } from '../../util/option-table.ts';
import { readOptions } from '../../util/option-text.ts';
import {
  ConfigReader,
  type Fields,
  fileStem,
  fromConfig,
  modelFromConfig,
  valueFromConfig,
} from '../config-reader.ts';
import type { LanguageArm, LanguageComparison } from './comparison.ts';

/** Options that replace what stands in the file. */
export interface ReadLanguageComparisonOptions {
  /** Language model. Relative to the working directory. */
  readonly model?: string | undefined;
  /** Data. Relative to the working directory. */
  readonly data?: string | undefined;
  /** Folder of the comparison. Relative to the working directory. */
  readonly out?: string | undefined;
}

const KEYS = ['name', 'model', 'data', 'out', 'base', 'arms', 'evaluate'];
/** Arm with which all others are compared. */
const FIRST = 'none';

/**
 * Reads the config file of a comparison of language systems: a JSON object.
 *
 *     {
 *       "name": "passages", "model": "../models/smollm2", "data": "../data/squad", "out": "../runs/passages",
 *       "base": {"retriever": "bm25"},
 *       "arms": [{"name": "bm25", "method": "in-context"}, {"name": "replug", "method": "replug", "ensemble": 8}],
 *       "evaluate": {"split": "test", "limit-queries": 300}
 *     }
 *
 * Paths in the file are relative to the file. Only `model`, `data`, `out` and `arms` are required. The arm `none` is added, and the
 * controls of the systems, unless there are arms of these names. Controls of kNN-LM, TRIME, RETRO, REALM and Atlas have the options of the first arm
 * of the system.
 * Controls with passages in front have the passages, leak filters and ways of reading of the first arm that names some, unless `base` does.
 *
 * @throws UsageError with file and place for a key that is missing or unknown, or an invalid value
 * @throws DataError if the file cannot be read or is not JSON
 */
export async function readLanguageComparison(
  file: string,
  options: ReadLanguageComparisonOptions = {},
): Promise<LanguageComparison> {
  return checkLanguageComparison(await readJson(file), { ...options, file });
}

/**
 * Checks the content of a config file, or an object of the same form.
 *
 * @param options.file  file to which the paths are relative. Default: none; they are relative to the working directory
 * @throws UsageError as `readLanguageComparison`
 */
export function checkLanguageComparison(
  config: unknown,
  { file = '', ...options }: ReadLanguageComparisonOptions & { readonly file?: string } = {},
): LanguageComparison {
  const reader = new LanguageReader(file);
  const top = reader.fields(config, '', KEYS);
  const writtenModel = options.model ?? reader.text(top, 'model', option('model'));
  return {
    name: top.name === undefined ? fileStem(file) || 'comparison' : reader.text(top, 'name'),
    model: options.model ?? modelFromConfig(file, writtenModel),
    writtenModel,
    data: options.data ?? fromConfig(file, reader.text(top, 'data', option('data'))),
    out: options.out ?? fromConfig(file, reader.text(top, 'out', option('out'))),
    arms: reader.arms(top),
    evaluate: reader.evaluation(top.evaluate),
  };
}

class LanguageReader extends ConfigReader {
  arms(top: Fields): LanguageArm[] {
    const { method, ...shared } = top.base === undefined ? {} : this.fields(top.base, 'base');
    const base = this.at('base', () => readOptions(COMPARED_OPTIONS, shared));
    if (!Array.isArray(top.arms) || top.arms.length === 0) {
      if (top.arms !== undefined) throw this.wrong('arms', 'a list of arms', top.arms);
      throw this.error(
        '',
        '"arms" is missing',
        'for example "arms": [{"name": "bm25", "method": "in-context"}]',
      );
    }
    const own = top.arms.map((value, i) =>
      this.arm({ method, ...this.fields(value, `arms[${i}]`) }, base, `arms[${i}]`),
    );
    this.distinctNames(own);
    const added = [
      { name: FIRST, method: FIRST, options: {} },
      ...own.flatMap(({ method }) => findComparedSystem(method).controls ?? []),
    ]
      .filter(({ name }, i, all) => all.findIndex((other) => other.name === name) === i)
      .filter(({ name }) => !own.some((arm) => arm.name.toLowerCase() === name))
      .flatMap((control) => this.control(control, own, base));
    // Differences are to the first arm.
    const all = [
      ...added.filter(({ name }) => name === FIRST),
      ...own,
      ...added.filter(({ name }) => name !== FIRST),
    ];
    return [...all].sort((a, b) => Number(b.name === FIRST) - Number(a.name === FIRST));
  }

  /** Makes the arm of a control; none where the control follows arms of a kind that is not there. */
  private control(
    { name, method, options, follows, takes = [], leavesOut = [] }: ControlArm,
    own: readonly LanguageArm[],
    base: GivenValues,
  ) {
    const followed = follows && own.find((arm) => arm.method === method && follows(arm.written));
    if (follows && !followed) return [];
    const beside = own.filter((arm) =>
      findComparedSystem(arm.method).controls?.some((each) => each.name === name),
    );
    const taken = takes
      .filter((key) => base[key] === undefined)
      .flatMap((key) => {
        const arm = beside.find(({ written }) => written[key] !== undefined);
        return arm ? [[key, arm.written[key]] as const] : [];
      });
    const isUsed = ([key]: readonly [string, unknown]) => !leavesOut.includes(key);
    const used = (values: GivenValues) => Object.fromEntries(Object.entries(values).filter(isUsed));
    const followedOptions = used({ ...Object.fromEntries(taken), ...followed?.written });
    return [this.arm({ name, method, ...followedOptions, ...options }, used(base), name)];
  }

  private arm(fields: Fields, base: GivenValues, place: string): LanguageArm {
    const { name, method, ...own } = fields;
    if (typeof method !== 'string') {
      if (method !== undefined) throw this.wrong(`${place}.method`, 'the id of a system', method);
      throw this.error(place, '"method" is missing', 'give it in the arm or in "base"');
    }
    const system = this.at(`${place}.method`, () => findComparedSystem(method));
    const armName = this.armName(name ?? system.id, place);
    const table: OptionTable = system.options;
    const shared = Object.entries(base).filter(([key]) => Object.hasOwn(table, key));
    const given = this.at(`${place} ("${armName}")`, () => readOptions(table, own));
    const written = { ...Object.fromEntries(shared), ...given };
    const options = Object.fromEntries(
      Object.entries(written).map(([key, value]) => [key, valueFromConfig(this.file, table[key]!, value)]),
    );
    return { name: armName, method: system.id, written, options };
  }

  evaluation(value: unknown = {}): LanguageComparison['evaluate'] {
    return this.at('evaluate', () => readOptions(TASK_OPTIONS, this.fields(value, 'evaluate')));
  }
}
