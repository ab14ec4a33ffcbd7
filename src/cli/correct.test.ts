import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCorrector } from '../correctors/corrector-folder.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import type { OptionTable } from '../util/option-table.ts';
import { allOptions } from './command.ts';
import { correctCommand } from './correct.ts';
import { describeError } from './describe-error.ts';
import type { Io } from './io.ts';
import { parseFlag, resolveOptions } from './options.ts';

const folder = tempFiles(rotatedData());
const at = (name: string) => join(folder, name);
const { from, to } = rotatedModels();
const table: OptionTable = allOptions(correctCommand);

/** Runs the command in this process, flags as texts. */
async function correct(flags: Readonly<Record<string, string>>) {
  const given = {
    from: at('old'),
    to: at('new'),
    data: at('set'),
    topK: '5',
    sample: '480',
    threads: '1',
    ...flags,
  };
  const values = Object.fromEntries(
    Object.entries(given).map(([key, text]) => [key, parseFlag(key, table[key]!, text)]),
  );
  const logged: string[] = [];
  const stages = new Set<string>();
  const io: Io = {
    signal: new AbortController().signal,
    async stream() {},
    log: (line) => logged.push(line),
    progress: (stage) => stages.add(stage),
    finishProgress() {},
  };
  const result = await correctCommand.run(resolveOptions(correctCommand.options, values), io, []);
  return { ...result, logged, stages };
}

describe('undrift correct', () => {
  beforeAll(async () => {
    await saveRetriever(at('old'), from, { onnx: false });
    await saveRetriever(at('new'), to, { onnx: false });
    await saveRetriever(at('wide'), rotatedModels({ toDimension: 24 }).to, { onnx: false });
  });

  it('reports and saves what it fitted', async () => {
    const out = at('corrector');
    const { json, text, stages } = await correct({ corrector: 'procrustes,mean-shift,procrustes', out });
    expect(json).toMatchObject({
      sample: 480,
      documents: 600,
      encodesRatio: 0.8,
      out,
      saved: 'procrustes',
      topK: [5],
    });
    const corrections = json.corrections as { kind: string; recovered: Record<string, number> }[];
    expect(corrections.map(({ kind }) => kind)).toEqual(['procrustes', 'mean-shift']);
    expect(corrections[0]!.recovered['recall@5']).toBeGreaterThan(0.95);
    expect(corrections[0]).not.toHaveProperty('corrector');
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    expect(text).toContain('fitted to 480 documents: texts for the new model to embed, 80.0 % of the corpus');
    expect(text).toMatch(/^nothing done +0\.\d{4}/m);
    expect(text).toMatch(/^procrustes +(0\.\d{4}|1\.0000) +\d+\.\d %/m);
    expect(stages).toContain('encode documents, old model');

    const spaces = { fromSpace: embeddingSpaceId(from), toSpace: embeddingSpaceId(to) };
    const { corrector, description } = await loadCorrector(out, spaces);
    expect(description).toMatchObject({ kind: 'procrustes', dimension: 16, sample: 480 });
    await corrector.dispose();
    await expect(loadCorrector(out, { fromSpace: spaces.toSpace })).rejects.toThrow(UsageError);
  });

  it('moves queries to the old space', async () => {
    const { text, json } = await correct({ corrector: 'ridge', direction: 'both', limitQueries: '10' });
    expect(json.queries).toBe(10);
    expect((json.corrections as { direction: string }[]).map(({ direction }) => direction)).toEqual([
      'documents',
      'queries',
    ]);
    expect(text).toContain('\nqueries: new queries moved to the old space');
  });

  it('goes between dimensions', async () => {
    const { text, json, logged } = await correct({ to: at('wide'), out: at('wider'), corrector: 'mlp' });
    expect(json).toMatchObject({ stale: null, saved: 'mlp' });
    expect(text).toContain('the dimensions differ');
    expect(text).toMatch(/^nothing done +impossible/m);
    expect(logged).toEqual([]);
    expect(existsSync(at('wider/corrector.json'))).toBe(true);
  });

  it.each([
    [{ corrector: 'rigde' }, 'unknown corrector "rigde", did you mean \'ridge\'?'],
    [{ topK: '10,x' }, '--top-k should be whole numbers from 1 to 100,000, found "x"'],
    [{ direction: 'both', out: 'x' }, '--out saves one corrector'],
    [{ out: at('old') }, 'is not empty, and not a corrector'],
    [{ to: at('old') }, 'both models have one embedding space'],
    [{ from: at('missing') }, '--from'],
  ])('refuses %j', async (flags, message) => {
    const error = await correct(flags as Record<string, string>).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UndriftError);
    expect(describeError(error).message).toContain(message);
  });
});
