import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { optionValues } from '../util/option-table.ts';
import { doctorCommand } from './doctor.ts';
import type { Io } from './io.ts';

const io: Io = {
  signal: new AbortController().signal,
  log() {},
  progress() {},
  finishProgress() {},
} as unknown as Io;
const doctor = (given: Record<string, unknown>) =>
  doctorCommand.run(optionValues(doctorCommand.options, given), io, []);

const record = (i: number) => JSON.stringify({ query: `question ${i}`, positive: `answer ${i}` });
const folder = tempFiles({
  'pairs.jsonl': Array.from({ length: 400 }, (_, i) => `${record(i)}\n`).join(''),
  'own.jsonl': Array.from({ length: 60 }, (_, i) => `{"ask": "q ${i}", "tell": "a ${i}"}\n`).join(''),
  'blank.jsonl': `${record(1)}\n{"query": "", "positive": "x"}\n`,
});
const data = join(folder, 'pairs.jsonl');

describe('doctor --data', () => {
  it('prints the method, the reason, commands and what hurts; exit code 0', async () => {
    const { json, text, exitCode = 0 } = await doctor({ data });
    expect(exitCode).toBe(0);
    expect(json).toMatchObject({
      data,
      method: 'in-batch',
      rule: 'small-corpus',
      model: { name: 'static', isNew: true, maxTokens: { query: 64, document: 256 }, batchSize: 128 },
      statistics: { kind: 'pairs', documents: 400 },
      exactLengths: false,
    });
    expect(text).toContain('recommended method: in-batch\n');
    expect(text).toContain(`undrift train --data ${data} --out runs/first`);
    const { warnings } = json as unknown as {
      warnings: { message: string; remedy: string; command: string }[];
    };
    for (const { message, remedy, command } of warnings) {
      expect(text).toContain(`  - ${message}\n    ${remedy}`);
      if (command) expect(text).toContain(`: ${command}\n`);
    }
  });

  it('counts lengths and unknown tokens by the tokenizer of a given model', async () => {
    const model = join(folder, 'model');
    await saveRetriever(model, smallRetriever({ kind: 'static' }));
    const { json } = await doctor({ data, model });
    expect(json).toMatchObject({ exactLengths: true, model: { name: model, isNew: false } });
    expect((json as { unknownRatio: number }).unknownRatio).toBeGreaterThanOrEqual(0);
    expect((json as { commands: string[] }).commands[0]).toContain(`--model ${model}`);
  });

  it('repeats the options of reading in its commands', async () => {
    const blank = join(folder, 'blank.jsonl');
    await expect(doctor({ data: blank })).rejects.toThrow(/blank\.jsonl:2/);
    const { json } = await doctor({ data: blank, skipBadRows: 1 });
    expect((json as { commands: string[] }).commands[0]).toContain('--skip-bad-rows 1');
    const own = join(folder, 'own.jsonl');
    const columns = { query: 'ask', positive: 'tell' };
    await expect(doctor({ data: own })).rejects.toThrow(/own\.jsonl:1/);
    const { commands } = (await doctor({ data: own, columns })).json as { commands: string[] };
    for (const command of commands) expect(command).toContain('--columns query=ask,positive=tell');
  });

  it('keeps its options apart from those of other reports', async () => {
    await expect(doctor({ data, parity: 'x' })).rejects.toThrow('exclude each other');
    await expect(doctor({ model: 'static' })).rejects.toThrow('--model is for --data');
    await expect(doctor({ skipBadRows: 1 })).rejects.toThrow('--skip-bad-rows is for --data');
  });
});
