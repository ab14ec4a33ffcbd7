import { loadCorpus } from '../data/documents.ts';
import type { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { type ClientParity, measureParity, type ParityReport } from '../export/measure-parity.ts';
import { F32_TOLERANCE, LEAST_COSINES } from '../export/tolerances.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { modelFolder, readOptions, showNotes, showProgress } from './model-source.ts';

/**
 * Runs `undrift doctor --parity`: checks whether other programs compute the same vectors with a model folder.
 */
export async function runParity(
  model: string,
  {
    texts: file,
    threads,
    ...reading
  }: { texts: string | undefined; threads?: number | undefined } & GivenOptions<typeof DOCUMENT_OPTIONS>,
  io: Io,
): Promise<CommandResult> {
  const folder = await modelFolder(model, io, [], '--parity');
  const report = await measureParity(folder, {
    ...(file !== undefined && { texts: [...(await loadCorpus(file, readOptions(io, reading))).texts()] }),
    ...(threads !== undefined && { threads }),
    onNote: showNotes(io),
    onProgress: showProgress(io),
  });
  io.finishProgress();
  return {
    json: { model, tolerance: F32_TOLERANCE, leastCosines: LEAST_COSINES, ...report },
    text: formatParity(model, report),
    exitCode: report.ok ? 0 : 1,
  };
}

/** Formats a report for a reader. */
export function formatParity(
  model: string,
  { ok, texts, sides, transformersJs, differences }: ParityReport,
): string {
  const lines = [`${model}: ${texts} texts, largest differences from our runtime`];
  for (const { side, folder, freshExport, clients } of sides) {
    if (sides.length > 1) lines.push(`${side}: ${folder}`);
    if (freshExport) lines.push('  the folder holds no ONNX file: compared with a fresh export');
    for (const client of clients) lines.push(...clientLines(client, texts));
  }
  if (!transformersJs)
    lines.push('  transformers.js is not installed: npm install @huggingface/transformers');
  for (const difference of differences)
    lines.push(`  sentence-transformers in Python differs: ${difference}`);
  const agree = ok ? 'all agree' : 'not all agree';
  lines.push(differences.length > 0 && ok ? 'onnxruntime and transformers.js agree; Python differs' : agree);
  return `${lines.join('\n')}\n`;
}

function clientLines(client: ClientParity, texts: number): string[] {
  const {
    client: name,
    version,
    file,
    vectors,
    dtype,
    largestDifference,
    minCosine,
    fault,
    tokens,
    layers,
  } = client;
  const what = name === 'transformers.js' ? `${name} ${version}` : `${name}, ${file}, ${vectors}`;
  const figures =
    largestDifference === undefined
      ? 'nothing to compare'
      : `${largestDifference.toExponential(1)}${dtype === 'f32' ? '' : `, least cosine ${minCosine!.toFixed(6)}`}`;
  const lines = [`  ${what}: ${figures}${fault ? `: ${fault}` : ''}`];
  if (tokens) {
    lines.push(`    tokens: ${tokens.equal} of ${texts} texts have the same`);
    const reasons: [readonly number[], string][] = [
      [tokens.cut, 'are longer than the model reads, and lose the closing special token there'],
      [tokens.sigma, 'have a capital sigma at the end of a word, which it lowers as JavaScript does'],
      [tokens.other, 'part for another reason'],
    ];
    for (const [rows, reason] of reasons) if (rows.length > 0) lines.push(`      ${rows.length} ${reason}`);
  }
  const last = layers?.at(-1);
  if (last) {
    lines.push(
      last.differs
        ? `    the first layer that differs: ${last.layer === 0 ? 'what goes into the first' : last.layer}, by ${last.largestDifference.toExponential(1)} (nearest value: ${last.value})`
        : `    all ${layers!.length - 1} layers agree: they part in pooling, projection or normalisation`,
    );
  }
  return lines;
}
