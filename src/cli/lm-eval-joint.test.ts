import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { toyReader } from '../../test/toy-reader.ts';
import { toyTokenizer } from '../../test/toy-training.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { lmEvalCommand } from './lm-eval.ts';

const ROWS = Array.from({ length: 17 }, (_, i) => i);
const jsonl = (of: (i: number) => object) => ROWS.map((i) => `${JSON.stringify(of(i))}\n`).join('');
const qrels = (rows: readonly number[]) =>
  ['query-id\tcorpus-id\tscore', ...rows.map((i) => `q${i}\td${i}\t1`), ''].join('\n');
const dataFolder = () =>
  tempFiles({
    'corpus.jsonl': jsonl((i) => ({ _id: `d${i}`, text: `doc${i}x part${i % 5}` })),
    'queries.jsonl': jsonl((i) => ({ _id: `q${i}`, text: `ask${i}y part${i % 5}` })),
    'answers.jsonl': jsonl((i) => ({ _id: `q${i}`, answers: [`doc${i}x`] })),
    'qrels/train.tsv': qrels(ROWS.slice(0, 12)),
    'qrels/dev.tsv': qrels(ROWS.slice(12)),
  });

describe('undrift lm eval of a run with a reader', () => {
  it.each(['realm', 'atlas'] as const)('%s: answers as the evaluation of the run', async (method) => {
    const [data, out] = [dataFolder(), join(tempFiles({}), 'run')];
    const { best } = await trainRetriever({
      ...{ data, out, method, readerPrompt: '{passage} {query} {answer}', candidates: 3, readerLr: 0.01 },
      ...{ reader: method === 'atlas' ? await toyReader() : await copyingReader(toyTokenizer()) },
      ...{ steps: 2, batchSize: 4, threads: 1, readerAnswerTokens: 4, hidden: 16 },
      evalMetric: 'answerLogLikelihood',
    });
    const given = { model: out, data, split: 'dev', threads: '1' };
    const { json, text } = await runCommand(lmEvalCommand, { ...given, method });
    expect(json).toMatchObject({ method, questions: 5 });
    expect((json as { natsPerAnswer: number }).natsPerAnswer).toBeCloseTo(-best.value!, 4);
    expect(text).toMatch(/^nats per answer .*\nexact match .*\n5 questions over 17 documents/);

    const limited = await runCommand(lmEvalCommand, {
      ...given,
      method,
      limitQueries: '2',
      answerTokens: '0',
    });
    expect(limited.json).toMatchObject({ questions: 2 });
    expect(limited.json).not.toHaveProperty('exactMatch');

    const refused = (options: object) =>
      expect(runCommand(lmEvalCommand, { ...given, method, ...options })).rejects;
    await refused({ method: method === 'atlas' ? 'realm' : 'atlas' }).toThrow(/is one of (realm|atlas), not/);
    await refused({ model: join(out, 'model') }).toThrow(/is no run that has trained a reader/);
    await refused({ window: '8' }).toThrow(/takes no .*window/);
    await refused({ task: 'text' }).toThrow(/takes no/);
  });
});
