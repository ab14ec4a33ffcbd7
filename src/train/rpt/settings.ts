import { type DataInMemory, IN_MEMORY } from '../../data/data-in-memory.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { checkOptions, type OptionTable, type OptionValues, optionValues } from '../../util/option-table.ts';
import { type AnySettings, checkRunChoices } from '../settings.ts';
import { RPT_TRAIN_OPTIONS, type RptTrainOptions } from './options.ts';

/** Id by which `undrift lm train --method` names this training. */
export const RPT_METHOD = 'rpt';

/** Settings of a run, with defaults filled in. */
export type RptSettings = OptionValues<typeof RPT_TRAIN_OPTIONS> &
  AnySettings & {
    readonly method: typeof RPT_METHOD;
    readonly lr: number;
    readonly model: string;
    /** Path or name of the documents to evaluate on; null for no evaluation. */
    readonly evalData: string | null;
  };

/** Tells whether the settings ask for the grades of a reference model. */
export const needsReference = ({ retrieval, labels }: Pick<RptSettings, 'retrieval' | 'labels'>): boolean =>
  retrieval === 'oracle' || (retrieval === 'learned' && labels === 'semantic');

/** Checks the options of a run and fills in defaults. @throws UsageError */
export function resolveRptSettings(options: RptTrainOptions): RptSettings {
  const { data, evalData, ...others } = options;
  const nameOf = (source: string | DataInMemory | undefined) =>
    typeof source === 'object' ? (source.name ?? IN_MEMORY) : source;
  const named = { ...others, data: nameOf(data), evalData: nameOf(evalData) };
  checkOptions(RPT_TRAIN_OPTIONS, named);
  for (const key of ['data', 'out', 'model'] as const) {
    if ((named[key] ?? null) !== null) continue;
    throw new UsageError(`${option(key)} is missing`);
  }
  const { resume, overwrite, device: _, threads: __, ...values } = optionValues(RPT_TRAIN_OPTIONS, named);
  checkRunChoices({ resume, overwrite, steps: options.steps, epochs: options.epochs });
  const settings = { ...values, evalData: named.evalData ?? null, method: RPT_METHOD } as RptSettings;
  refuseUnused(options, settings);
  return settings;
}

/** Refuses options that would change nothing. @throws UsageError */
function refuseUnused(given: RptTrainOptions, settings: RptSettings): void {
  const { retrieval, labels, gates, baseLr, rankWeight } = settings;
  // A resumed run is given all of its settings, with the defaults of those that it has no use for.
  const isDefault = (name: keyof RptTrainOptions) => {
    const { [name]: row } = RPT_TRAIN_OPTIONS as OptionTable;
    return given.resume === true && given[name] === row?.default;
  };
  const refuse = (names: readonly (keyof RptTrainOptions)[], why: string, help: string) => {
    const name = names.find((each) => (given[each] ?? null) !== null && !isDefault(each));
    if (name !== undefined) throw new UsageError(`${option(name)} has no meaning ${why}`, { help });
  };
  const leaveOut = 'leave it out';
  if (retrieval !== 'learned') {
    const names = ['labels', 'rankWeight', 'rankWarmup', 'rankMargin', 'sampling'] as const;
    refuse(names, `with ${option('retrieval', retrieval)}, where no retriever is learned`, leaveOut);
  }
  if (!needsReference(settings)) {
    const why = retrieval === 'learned' ? option('labels', labels) : option('retrieval', retrieval);
    refuse(['reference', 'scoreCache'], `with ${why}`, leaveOut);
    if (retrieval !== 'learned') refuse(['chunkCandidates'], `with ${why}`, leaveOut);
  }
  if (retrieval === 'none') {
    const why = `with ${option('retrieval', 'none')}, where no parts are added`;
    refuse(['lr'], why, `the model itself learns at ${option('baseLr')}`);
    refuse(['chunkNeighbours', 'crossLayers', 'encoderLayers', 'gates', 'gateFloor'], why, leaveOut);
    if (baseLr === 0) {
      throw new UsageError(
        `nothing is trained with ${option('retrieval', 'none')} and ${option('baseLr', 0)}`,
        { help: 'without neighbours the model is its base' },
      );
    }
  }
  if (rankWeight === 0) refuse(['rankWarmup', 'rankMargin'], `with ${option('rankWeight', 0)}`, leaveOut);
  if (!gates) refuse(['gateFloor'], `with ${option('gates', false)}`, leaveOut);
}
