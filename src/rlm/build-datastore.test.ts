import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';
import { type BuildDatastoreOptions, buildDatastore } from './build-datastore.ts';
import { documentSegments } from './evaluate-text.ts';
import { TokenDatastore } from './token-datastore.ts';

const D = 8;
const WINDOW = { window: 8, stride: 5 };
const DOCUMENTS = [
  'abcabcabcabcabcabcabcabcabc',
  '',
  'xyz',
  'hello',
  'ABCDEFGHabcdefghABCDEFGHabcdefgh',
  'q',
].map((text, i) => ({ id: `d${i}`, text }));
const compute = { threads: 1 };
let model: LanguageModel;
beforeAll(async () => {
  model = await LanguageModel.load('src/models/language/fixtures/causal/gpt2');
});
afterAll(() => model.dispose());

const build = (folder: string, options: BuildDatastoreOptions = {}, documents = DOCUMENTS) =>
  buildDatastore(model, documents, folder, { ...WINDOW, ...compute, groupTokens: 6, ...options });

/** Bytes of all files of a folder, by name. */
const bytesIn = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name)).toString('hex')]),
  );

describe('buildDatastore', () => {
  it('stores the state and the token of every place that evaluateText scores', async () => {
    const folder = join(tempFiles(), 'store');
    const { manifest, tokens } = await build(folder);
    const segments = DOCUMENTS.flatMap((document) => documentSegments({ model }, document, WINDOW).segments);
    const scores = await model.scoreTokens(segments, { keys: 'feed-forward-input', ...compute });
    const values = segments.flatMap(({ ids, from }) => [...ids.subarray(from)]);
    expect(manifest).toMatchObject({
      tokens: values.length,
      documents: 5,
      keys: 'feed-forward-input',
      dimension: D,
    });
    expect(tokens).toBe(values.length);
    const datastore = await TokenDatastore.open(folder, compute);
    expect([...datastore.values]).toEqual(values);
    const keys = f16ToF32(f32ToF16(Float32Array.from(scores.flatMap((each) => [...each.keys!]))));
    const stored = f16ToF32(new Uint16Array(new Uint8Array(readFileSync(join(folder, 'keys.f16'))).buffer));
    expect(stored).toHaveLength(keys.length);
    for (const [i, key] of keys.entries()) expect(stored[i]).toBeCloseTo(key, 2);
    expect(datastore.rowsOf('d0')).toEqual({ start: 0, end: 27 });
    expect(datastore.rowsOf('d2')).toEqual({ start: 27, end: 30 });
    expect(datastore.rowsOf('d1')).toBeUndefined();
    // A key is nearest to itself.
    const found = await datastore.search(stored.subarray(4 * D, 6 * D), 1);
    expect([...found.rows]).toEqual([4, 5]);
    for (const similarity of found.similarities) expect(similarity).toBeGreaterThan(-1e-4);
    // By inner product, the best of all keys.
    const query = stored.subarray(4 * D, 5 * D);
    const products = Array.from({ length: stored.length / D }, (_, row) =>
      query.reduce((sum, value, d) => sum + value * stored[row * D + d]!, 0),
    );
    const nearest = await datastore.search(query, 3, { by: 'product' });
    const expected = [...products].sort((a, b) => b - a).slice(0, 3);
    for (const [i, row] of nearest.rows.entries()) {
      expect(nearest.similarities[i]).toBeCloseTo(expected[i]!, 3);
      expect(products[row]).toBeCloseTo(expected[i]!, 3);
    }
    await datastore.dispose();
  });

  it('gives the same bytes however often it is stopped', async () => {
    const whole = join(tempFiles(), 'store');
    await build(whole);
    const folder = join(tempFiles(), 'store');
    let [calls, resumed] = [0, 0];
    for (let manifest: unknown; manifest === undefined; calls++) {
      const controller = new AbortController();
      const built = await build(folder, { signal: controller.signal, onProgress: () => controller.abort() });
      expect(built.resumedTokens).toBe(resumed);
      ({ manifest, tokens: resumed } = built);
      expect(existsSync(folder)).toBe(manifest !== undefined);
      // A process that is killed may have written more than the state says.
      if (manifest === undefined)
        writeFileSync(`${folder}.building/keys.f16`, Buffer.alloc(999), { flag: 'a' });
    }
    expect(calls).toBeGreaterThan(4);
    expect(bytesIn(folder)).toEqual(bytesIn(whole));
    expect(existsSync(`${folder}.building`)).toBe(false);
  });

  it.each([1, 7, 27, 30, 1000])(
    'stores the first %i tokens, also when it was stopped',
    async (limitTokens) => {
      const [whole, folder] = [join(tempFiles(), 'store'), join(tempFiles(), 'store')];
      const { tokens } = await build(whole, { limitTokens });
      expect(tokens).toBe(Math.min(limitTokens, 68));
      const controller = new AbortController();
      await build(folder, { limitTokens, signal: controller.signal, onProgress: () => controller.abort() });
      if (!existsSync(folder)) await build(folder, { limitTokens });
      expect(bytesIn(folder)).toEqual(bytesIn(whole));
    },
  );

  it('gives a build its name that was killed just before', async () => {
    const whole = join(tempFiles(), 'store');
    await build(whole);
    const folder = join(tempFiles(), 'store');
    const controller = new AbortController();
    await build(folder, { signal: controller.signal, onProgress: () => controller.abort() });
    const kept = ['state.json', 'settings.json'].map(
      (name) => [name, readFileSync(`${folder}.building/${name}`)] as const,
    );
    mkdirSync(`${folder}.building`, { recursive: true });
    cpSync(whole, `${folder}.building`, { recursive: true });
    for (const [name, bytes] of kept) writeFileSync(`${folder}.building/${name}`, bytes);
    expect((await build(folder)).manifest).toMatchObject({ tokens: 68 });
    expect(bytesIn(folder)).toEqual(bytesIn(whole));
  });

  it('refuses to go on with other settings or another text, and to overwrite', async () => {
    const folder = join(tempFiles(), 'store');
    const controller = new AbortController();
    await build(folder, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(build(folder, { stride: 8 })).rejects.toThrow(
      /other settings was begun .*: stride 5, and now 8/,
    );
    const other = [{ id: 'd0', text: `${DOCUMENTS[0]!.text.slice(0, -1)}z` }, ...DOCUMENTS.slice(1)];
    await expect(build(folder, {}, other)).rejects.toThrow(
      'are not those with which the datastore was begun',
    );
    await expect(TokenDatastore.open(folder)).rejects.toThrow('is not finished');
    await build(folder);
    await expect(build(folder)).rejects.toThrow('exists already');
    const empty = join(tempFiles(), 'store');
    await expect(build(empty, {}, [{ id: 'e', text: '' }])).rejects.toThrow('has no token to store');
    expect(existsSync(empty)).toBe(false);
    expect(existsSync(`${empty}.building`)).toBe(false);
  });
});

describe('TokenDatastore', () => {
  it('refuses another model and another tokenizer', async () => {
    const folder = join(tempFiles(), 'store');
    await build(folder);
    const datastore = await TokenDatastore.open(folder, compute);
    datastore.check(model);
    const other = await LanguageModel.load('src/models/language/fixtures/causal/qwen3-tied');
    expect(() => datastore.check(other)).toThrow(/was built with the (tokenizer|model) [0-9a-f]{16}/);
    const moved = new LanguageModel(model.decoder, model.tokenizer, {
      ...model.weights,
      'wte.weight': {
        ...model.weights['wte.weight']!,
        data: Float32Array.from(model.weights['wte.weight']!.data as Float32Array, (x) => x + 1e-3),
      },
    });
    expect(() => datastore.check(moved)).toThrow(/was built with the model [0-9a-f]{16}, and this model is/);
    for (const each of [other, moved, datastore]) await each.dispose();
  });

  it('searches a share of the tokens', async () => {
    const folder = join(tempFiles(), 'store');
    await build(folder);
    const half = await TokenDatastore.open(folder, { share: 0.5, ...compute });
    expect(half.size).toBe(34);
    expect(half.values).toHaveLength(34);
    expect(half.rowsOf('d4')).toBeUndefined();
    const { k, rows } = await half.search(new Float32Array(D), 1000);
    expect(k).toBe(34);
    expect([...rows].sort((a, b) => a - b)).toEqual(Array.from({ length: 34 }, (_, i) => i));
    await half.dispose();
    await expect(TokenDatastore.open(folder, { share: 0 })).rejects.toThrow('datastoreShare must be above 0');
  });

  it('refuses damaged folders', async () => {
    const folder = join(tempFiles(), 'store');
    await build(folder);
    const damaged = (change: (copy: string) => void) => {
      const copy = join(tempFiles(), 'store');
      cpSync(folder, copy, { recursive: true });
      change(copy);
      return TokenDatastore.open(copy);
    };
    const json = (copy: string, change: object) => {
      const file = join(copy, 'manifest.json');
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
    };
    await expect(damaged((copy) => truncateSync(join(copy, 'keys.f16'), 100))).rejects.toThrow(
      'has 100 bytes',
    );
    await expect(damaged((copy) => truncateSync(join(copy, 'values.i32'), 8))).rejects.toThrow('has 8 bytes');
    await expect(damaged((copy) => json(copy, { vocabSize: 3 }))).rejects.toThrow('of 3 tokens');
    await expect(damaged((copy) => json(copy, { tokens: '5' }))).rejects.toThrow(
      '"tokens" must be a whole number',
    );
    await expect(damaged((copy) => json(copy, { format: 2 }))).rejects.toThrow('another version of Undrift');
    await expect(damaged((copy) => writeFileSync(join(copy, 'documents.jsonl'), '{}\n'))).rejects.toThrow(
      'list of documents',
    );
    await expect(TokenDatastore.open(tempFiles())).rejects.toThrow('is no datastore');
  });
});
