import { parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { elementCount } from '../../onnx/dtypes.ts';
import { UsageError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { MethodContext, RunPlan } from '../contract/method.ts';
import { CANDIDATE_OPTIONS, checkCandidates, describeCandidates } from '../table/candidate-plan.ts';
import { noReader } from '../table/reader-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import { tableRows } from '../table/table-options.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';

/** Options of every method that trains a reader beside the retriever. */
export const JOINT_OPTIONS = {
  ...pickOptions(READER_OPTIONS, 'reader', 'readerTokens', 'readerEvalQueries', 'leaveOutPositives'),
  ...JOINT_READER_OPTIONS,
  ...CANDIDATE_OPTIONS,
};

/**
 * Checks the plan of a joint run, before anything is loaded or embedded.
 *
 * @throws UsageError where options contradict each other, and where no reader is named
 */
export function checkJointPlan(id: string, plan: RunPlan): void {
  const { reader, readerTuning, readerLora, readerLoraTargets } = optionValues(JOINT_OPTIONS, plan.options);
  if (reader === undefined) throw noReader();
  checkCandidates(id, plan);
  if (readerTuning === 'lora') return;
  const asked = readerLora !== undefined ? 'readerLora' : readerLoraTargets ? 'readerLoraTargets' : undefined;
  if (asked === undefined) return;
  throw new UsageError(`${option(asked)} without ${option('readerTuning', 'lora')}`, {
    help: `add ${option('readerTuning', 'lora')}, or leave ${option(asked)} out`,
  });
}

/**
 * Describes the candidates, the reader and the cost of a joint run: one sentence a line.
 *
 * @param of.beside  candidates beside those of the table, in words
 * @param of.prompts  prompts of each query
 */
export function describeJoint(plan: RunPlan, of: { beside?: string; prompts: number }): string[] {
  const { readerTuning } = optionValues(JOINT_OPTIONS, plan.options);
  const trained = { full: 'is trained too', lora: 'is trained by adapters', frozen: 'stays as it is' };
  const { beside = '', prompts } = of;
  return [
    ...describeCandidates(plan, { beside, loss: `the reader ${trained[readerTuning]}` }),
    `prompts that the reader reads: ${count(plan.updates * plan.accumulate * plan.batchSize * prompts)}`,
  ];
}

/**
 * Makes the report of what the freshness of the table has cost, as a share of the time of steps, beside the formula of the papers: an
 * event `overhead` of the log, and a note, after the last update.
 *
 *     refresh every R updates:  2 N P_ret / (f C P_read R)      over-retrieve:  2 L P_ret / (f K P_read)
 *
 * with N rows, C candidates that are read in an update, and P parameters. Embedding takes 2 operations for each parameter and token, the
 * reader f for a candidate. The formula takes candidates and documents to be of one length, and counts only the two models.
 *
 * @param of.factor  operations of the reader for each candidate, parameter and token, f: 6 to read it with a gradient, 2 without
 * @param of.prompts  prompts of each query
 */
export function overheadReport(
  { options, ledger, retriever, part, documents, totalSteps = 1, onEvent, onNote }: MethodContext,
  of: { readonly factor: number; readonly prompts: number },
): () => void {
  const { candidates: K, overRetrieve: L, cacheSize, refresh } = optionValues(JOINT_OPTIONS, options);
  const size = (specs: readonly { readonly shape: readonly number[] }[]) =>
    specs.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const ratio = size(retriever.specs) / size(part!.specs);
  const { every, async } = parseRefreshPolicy(refresh);
  const R = every ?? async?.every;
  const N = tableRows(cacheSize, documents.rows);
  return () => {
    const { stepMs = 0, updateMs = 0, sampleMs = 0, refreshMs = 0, rerankMs = 0 } = ledger.totals;
    const { readerPassages = 0 } = ledger.totals;
    const candidates = (readerPassages / totalSteps) * (K / of.prompts);
    const work = stepMs + updateMs + sampleMs;
    const figures: Record<string, number> = {
      ...(R && {
        refreshFormula: (2 * N * ratio) / (of.factor * candidates * R),
        refreshMeasured: refreshMs / work,
      }),
      ...(L > 0 && {
        overRetrieveFormula: (2 * L * ratio) / (of.factor * K),
        overRetrieveMeasured: rerankMs / work,
      }),
    };
    const names = Object.keys(figures);
    if (names.length === 0) return;
    onEvent?.('overhead', figures);
    const words = names.map((name) => `${name} ${(100 * figures[name]!).toFixed(1)} %`);
    onNote?.(`cost of a fresh table, as a share of the time of steps: ${words.join(', ')}`);
  };
}
