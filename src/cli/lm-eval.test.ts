import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { spawnUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { lmDatastoreCommand } from './lm-datastore.ts';
import { lmEvalCommand } from './lm-eval.ts';

const causal = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const MODEL = join(causal, 'gpt2');
const { documents, evaluations } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../rlm/fixtures/knn_lm.json', import.meta.url)), 'utf8'),
) as {
  documents: string[];
  evaluations: {
    model: string;
    window: number;
    stride: number;
    documents: { nats: number; tokens: number }[];
  }[];
};
const jsonl = documents.map((text, i) => `${JSON.stringify({ id: `d${i}`, text })}\n`).join('');
const files = () =>
  tempFiles({
    'test.jsonl.gz': gzipSync(jsonl),
    'train.jsonl': jsonl.replaceAll('"d', '"t'),
    'one.txt': documents[3]!,
  });
const COMMON = { model: MODEL, window: '12', stride: '6', threads: '1' };

describe('undrift lm eval', () => {
  it('prints perplexity as transformers computes it, as one JSON object', async () => {
    const folder = files();
    const { window, stride, documents: expected } = evaluations.find(({ model }) => model === 'gpt2')!;
    const flags = ['--window', String(window), '--stride', String(stride), '--threads', '1', '--json'];
    const run = await spawnUndrift(
      ['lm', 'eval', '--model', MODEL, '--data', 'test.jsonl.gz', '--document-file', 'each.jsonl', ...flags],
      { cwd: folder },
    );
    expect(run.code).toBe(0);
    const found = JSON.parse(run.stdout);
    const nats = expected.reduce((sum, each) => sum + each.nats, 0);
    const tokens = expected.reduce((sum, each) => sum + each.tokens, 0);
    expect(Object.keys(found).slice(0, 4)).toEqual(['perplexity', 'wordPerplexity', 'bitsPerByte', 'tokens']);
    expect(found).toMatchObject({ tokens, method: 'none', window, stride });
    expect(found.perplexity).toBeCloseTo(Math.exp(nats / tokens), 3);
    const each = readFileSync(join(folder, 'each.jsonl'), 'utf8').trim().split('\n');
    expect(each.map((line) => JSON.parse(line).tokens)).toEqual(
      expected.map((document) => document.tokens).filter((count) => count > 0),
    );
  });

  it('gives nats per word where the perplexity of a word is no number', async () => {
    const data = join(tempFiles({ 'long.txt': 'ab'.repeat(600) }), 'long.txt');
    const { json, text } = await runCommand(lmEvalCommand, { ...COMMON, data });
    const { natsPerWord, natsPerToken, nats, tokens, wordPerplexity } = json as Record<string, number>;
    expect([natsPerWord, natsPerToken]).toEqual([nats, nats! / tokens!]);
    expect(natsPerWord).toBeGreaterThan(709);
    expect(wordPerplexity).toBe(Number.POSITIVE_INFINITY);
    expect(text).toContain(`word perplexity  exp(${natsPerWord!.toFixed(4)})\n`);
  });

  it('reads a text file as one document, up to a number of tokens', async () => {
    const data = join(files(), 'one.txt');
    const { json, text } = await runCommand(lmEvalCommand, { ...COMMON, data, limitTokens: '9' });
    expect(json).toMatchObject({ tokens: 9, documents: 1, bytes: 9, words: 1 });
    expect(text).toMatch(/^perplexity +[\d.]+\nword perplexity +[\d.]+\nbits per byte +[\d.]+\n9 tokens, /);
  });

  it('mixes in the tokens of a datastore, and the window, tuned on other text', async () => {
    const folder = files();
    const out = join(folder, 'store');
    const [data, dev] = [join(folder, 'test.jsonl.gz'), join(folder, 'train.jsonl')];
    const built = await runCommand(lmDatastoreCommand, { ...COMMON, data: dev, out });
    expect(built.json).toMatchObject({
      tokens: 59,
      documents: 5,
      keys: 'feed-forward-input',
      stopped: false,
    });
    expect(built.text).toContain('59 tokens stored');
    expect(built.text).toContain(`--datastore ${out}`);
    const common = { ...COMMON, data, method: 'knn-lm', datastore: out, knnK: '5' };
    const alone = await runCommand(lmEvalCommand, { ...COMMON, data });
    const tuned = await runCommand(lmEvalCommand, { ...common, tuneData: dev });
    const { settings, perplexity } = tuned.json as { perplexity: number; settings: Record<string, number> };
    // The datastore holds the text itself, under other ids.
    expect(perplexity).toBeLessThan(0.5 * (alone.json.perplexity as number));
    expect(tuned.text).toContain(`lambda ${settings.lambda}`);
    const given = { knnTemperature: String(settings.temperature), knnLambda: String(settings.lambda) };
    const again = await runCommand(lmEvalCommand, { ...common, ...given });
    expect(again.json.perplexity).toBe(perplexity);
    const none = await runCommand(lmEvalCommand, { ...common, ...given, knnLambda: '0' });
    expect(none.json.perplexity).toBe(alone.json.perplexity);
    // Before the model is looked for.
    await expect(
      runCommand(lmDatastoreCommand, { ...COMMON, model: 'no-such-model', data: dev, out }),
    ).rejects.toThrow('exists already');
    await expect(
      runCommand(lmEvalCommand, { ...common, ...given, model: join(causal, 'llama-untied') }),
    ).rejects.toThrow(/was built with the (model|tokenizer) [0-9a-f]{16}/);
  });

  it.each([
    [{ knnK: '3' }, 'the method none takes no knnK'],
    [{ method: 'knn' }, 'unknown method "knn"'],
    [{ method: 'knn-lm' }, 'datastore is missing'],
    [{ method: 'knn-lm', datastore: 'nowhere', knnTemperature: '1' }, 'nowhere is no datastore'],
    [{ method: 'knn-lm', datastore: 'nowhere' }, 'knnTemperature is missing'],
    [{ method: 'knn-lm', datastore: 'nowhere', cacheTheta: '1' }, 'cacheTheta has no meaning without cache'],
    [
      { method: 'knn-lm', datastore: 'nowhere', knnLambda: '0.2', tuneData: 'x' },
      'knnLambda has no meaning with tuneData, which chooses it',
    ],
    [{ window: '12', stride: '13' }, 'stride: 13 is more than window: 12'],
    [{ window: '100000', stride: '6' }, 'tokens that the model reads'],
    [{ data: 'nowhere.jsonl' }, 'nowhere.jsonl'],
  ])('refuses %j', async (flags, message) => {
    const data = join(files(), 'test.jsonl.gz');
    await expect(runCommand(lmEvalCommand, { ...COMMON, data, ...flags })).rejects.toThrow(message);
  });

  it('leaves nothing under the name of a datastore that cannot be built', async () => {
    const folder = tempFiles({ 'blank.jsonl': '{"id":"a","text":"  "}\n' });
    const out = join(folder, 'store');
    await expect(
      runCommand(lmDatastoreCommand, { ...COMMON, data: join(folder, 'blank.jsonl'), out }),
    ).rejects.toThrow();
    expect(existsSync(out)).toBe(false);
  });
});
