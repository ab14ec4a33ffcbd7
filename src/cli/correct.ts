import { CORRECTOR_KINDS, type CorrectorKind } from '../correctors/corrector.ts';
import { checkCorrectorFolder, describeCorrector, saveCorrector } from '../correctors/corrector-folder.ts';
import { loadData } from '../data/load.ts';
import { DATA_HELP, READ_OPTIONS } from '../data/load-options.ts';
import { CORRECTION_OPTIONS, DIRECTIONS } from '../migration/correction-options.ts';
import {
  type Correction,
  type CorrectionReport,
  measureCorrection,
} from '../migration/measure-correction.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { UsageError } from '../util/errors.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import {
  acceptsItem,
  describeRange,
  type OptionTable,
  type OptionValues,
  suggestion,
} from '../util/option-table.ts';
import { type CommandResult, defineCommand } from './command.ts';
import { formatCorrection } from './format-correction.ts';
import type { Io } from './io.ts';
import { loadModel, readOptions, showProgress } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

const OPTIONS = {
  from: {
    type: 'text',
    value: 'model',
    required: true,
    help: 'old model, which made the stored vectors: a folder or a run',
  },
  to: { type: 'text', value: 'model', required: true, help: 'new model' },
  data: { type: 'text', value: 'folder', required: true, help: DATA_HELP },
  // Read as words, so that an error names the one that is wrong.
  corrector: { type: 'list', help: CORRECTION_OPTIONS.correctors.help },
  direction: {
    type: 'choice',
    choices: [...DIRECTIONS, 'both'],
    default: 'documents',
    help: CORRECTION_OPTIONS.directions.help,
  },
  sample: CORRECTION_OPTIONS.sample,
  split: CORRECTION_OPTIONS.split,
  limitQueries: CORRECTION_OPTIONS.limitQueries,
  topK: {
    type: 'list',
    default: CORRECTION_OPTIONS.topK.default.map(String),
    help: CORRECTION_OPTIONS.topK.help,
  },
  out: {
    type: 'text',
    value: 'folder',
    help: 'folder to save the corrector with the smallest error on held-out documents; needs a single direction',
  },
  seed: CORRECTION_OPTIONS.seed,
  ...READ_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/**
 * The command `undrift correct`: measures how much of a full re-embedding a map between two models recovers.
 */
export const correctCommand = defineCommand({
  description:
    'Embeds a sample of documents by both models and fits correctors to the pairs. Direction documents maps stored vectors to the space ' +
    'of the new model. Direction queries maps the new model’s queries to the old space: no stored vector changes, and the result is at ' +
    'best that of the old model. Both are evaluated on the queries of a split, whose relevant documents are never in the sample. They ' +
    'are compared with no correction and with all documents embedded by the new model, by recall of the relevant documents and by ' +
    'overlap with the best documents of the full re-embedding.',
  options: OPTIONS,
  examples: [
    '--from runs/old --to runs/new --data data/api-docs',
    '--from runs/old --to runs/new --data data/api-docs --corrector ridge,mlp --sample 500 --direction both --json',
    '--from runs/old --to runs/new --data data/api-docs --corrector ridge --out correctors/old-to-new',
  ],
  async run(options, io) {
    const { direction, out } = options;
    const topK = cutoffs(options.topK);
    const correctors = options.corrector && correctorKinds(options.corrector);
    if (out !== undefined) {
      if (direction === 'both') {
        throw new UsageError('--out saves one corrector, and --direction both fits two of each kind', {
          help: `name one of ${DIRECTIONS.join(', ')}`,
        });
      }
      await checkCorrectorFolder(out);
    }
    const chosen = { topK, correctors };
    return out === undefined
      ? await correct(options, chosen, io)
      : await withLock(lockBeside(out), () => correct(options, chosen, io));
  },
});

async function correct(
  options: OptionValues<typeof OPTIONS>,
  { topK, correctors }: { topK: readonly number[]; correctors: readonly CorrectorKind[] | undefined },
  io: Io,
): Promise<CommandResult> {
  const { direction, out } = options;
  const startMs = performance.now();
  const from = await loadModel(options.from, io, [], { option: 'from' });
  const to = await loadModel(options.to, io, [], { option: 'to' });
  const data = await loadData(options.data, { splits: [options.split], ...readOptions(io, options) });
  io.finishProgress();
  for (const note of data.notes) io.log(`note: ${note}`);
  const report = await measureCorrection({ from, to }, data, {
    correctors,
    directions: direction === 'both' ? DIRECTIONS : [direction],
    sample: options.sample,
    split: options.split,
    limitQueries: options.limitQueries,
    topK,
    seed: options.seed,
    ...computeOptions(options),
    onNote: (note) => io.log(`note: ${note}`),
    onProgress: showProgress(io),
  });
  io.finishProgress();
  const saved = out === undefined ? undefined : await saveBest(out, report);
  for (const { corrector } of report.corrections) await corrector.dispose();
  await from.dispose();
  await to.dispose();
  const seconds = (performance.now() - startMs) / 1000;
  const named = {
    from: options.from,
    to: options.to,
    data: data.name,
    split: options.split,
    topK,
    seconds,
  };
  return {
    json: {
      ...report,
      ...named,
      from: { model: options.from, ...report.from },
      to: { model: options.to, ...report.to },
      encodesRatio: report.sample / report.documents,
      corrections: report.corrections.map(({ corrector: _, ...measured }) => measured),
      fingerprint: data.fingerprint,
      seconds: Number(seconds.toFixed(3)),
      ...(saved && { out, saved: saved.kind }),
    },
    text:
      formatCorrection(report, named) +
      (saved ? `\n${out}: ${saved.kind}, the least error of its direction\n` : ''),
  };
}

function cutoffs(texts: readonly string[]): number[] {
  const spec = CORRECTION_OPTIONS.topK;
  const values = texts.map((text) => (/^[0-9]+$/.test(text) ? Number(text) : Number.NaN));
  const wrong = values.findIndex((value) => !acceptsItem(spec, value));
  if (wrong >= 0) {
    const items = describeRange(spec).replace('a list of ', '');
    throw new UsageError(`--top-k should be ${items}, found "${texts[wrong]}"`, {
      help: 'for example --top-k 10,100',
    });
  }
  return [...new Set(values)].sort((a, b) => a - b);
}

function correctorKinds(texts: readonly string[]): CorrectorKind[] {
  const isKind = (text: string): text is CorrectorKind =>
    (CORRECTOR_KINDS as readonly string[]).includes(text);
  for (const text of texts) {
    if (isKind(text)) continue;
    throw new UsageError(`--corrector: unknown corrector "${text}"${suggestion(text, CORRECTOR_KINDS)}`, {
      help: `known: ${CORRECTOR_KINDS.join(', ')}`,
    });
  }
  return [...new Set(texts.filter(isKind))];
}

/**
 * Saves the correction with the smallest error on held-out documents. Queries and judgements do not influence
 * the choice.
 */
async function saveBest(
  out: string,
  { corrections, from, to, sample }: CorrectionReport,
): Promise<Correction> {
  const best = corrections.reduce((a, b) => (b.heldOutError < a.heldOutError ? b : a));
  const { direction, kind, corrector, heldOutError } = best;
  const ends = [from, to].map(({ embeddingSpace: id, dimension }) => ({ id, dimension }));
  const [source, target] = direction === 'documents' ? ends : ends.reverse();
  await saveCorrector(out, corrector, describeCorrector({ kind, sample, heldOutError }, source!, target!));
  return best;
}
