import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { trainedParts } from '../../../test/trained-parts.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { buildDatastore } from '../../rlm/build-datastore.ts';
import { RetroModel, saveRetro } from '../../rlm/retro.ts';
import { RptModel, saveRpt } from '../../rlm/rpt.ts';
import { UndriftError } from '../../util/errors.ts';
import { compareLanguageSystems } from './compare-language-systems.ts';
import type { LanguageComparisonConfig } from './comparison.ts';
import { checkLanguageComparison } from './read-comparison.ts';

const BASE = fileURLToPath(new URL('../../models/language/fixtures/causal/gpt2', import.meta.url));
const folder = tempFiles();
const at = (name: string) => join(folder, name);
const TEXTS = ['abcdefghijklmnopqrst', 'abcdxyzwefghqrstmnop', 'efghQRSTmnopUVWXabcd'];
const texts = (id: string) => TEXTS.map((text, i) => ({ id: `${id}${i}`, text }));

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  for (const id of ['test', 'train'])
    writeFileSync(
      at(`${id}.jsonl`),
      texts(id)
        .map((each) => JSON.stringify(each))
        .join('\n'),
    );
  const base = await LanguageModel.load(BASE);
  const shape = { chunkTokens: 4, crossLayers: [1, 2], encoderLayers: 1 };
  await saveRetro(at('retro'), trainedParts(RetroModel.create(base, shape)), { base: BASE });
  await buildDatastore(base, texts('train'), at('store'), { window: 16, stride: 16, threads: 1 });
  await base.dispose();
});

describe('compareLanguageSystems', () => {
  it('measures kNN-LM beside random keys, and RETRO beside shuffled neighbours', async () => {
    const config: LanguageComparisonConfig = {
      ...{ model: at('retro'), data: at('test.jsonl'), out: at('out') },
      arms: [
        { name: 'knn', method: 'knn-lm', datastore: at('store'), knnK: 8, knnTemperature: 4, knnLambda: 0.5 },
        { name: 'off', method: 'retro', passageData: at('train.jsonl'), neighbours: 'off' },
        { name: 'read', method: 'retro', passageData: at('train.jsonl'), retriever: 'states' },
      ],
      evaluate: { window: 16, stride: 8 },
    };
    const begun: string[] = [];
    const results = await compareLanguageSystems(
      config,
      { threads: 1 },
      { onArm: ({ name }) => begun.push(name) },
    );
    expect(begun).toEqual(['none', 'knn', 'off', 'read', 'random-keys', 'shuffled-neighbours']);
    expect(results.failures).toEqual([]);
    expect(existsSync(results.report)).toBe(true);
    const arms = Object.fromEntries(results.arms.map((arm) => [arm.name, arm]));
    const perplexity = (name: string) => arms[name]!.metrics.perplexity!.mean;
    // The datastore holds the text under other ids: its own tokens help, and those of other places do not.
    expect(perplexity('knn')).toBeLessThan(0.7 * perplexity('none'));
    expect(perplexity('random-keys')).toBeGreaterThan(1.5 * perplexity('knn'));
    expect(arms['random-keys']!.settings).toMatchObject({ knnTokens: 'random', knnK: 8, knnLambda: 0.5 });
    // A control follows the arm of which it is one, not the arm without neighbours.
    expect(arms['shuffled-neighbours']!.settings).toMatchObject({
      neighbours: 'shuffled',
      retriever: 'states',
    });
    expect(perplexity('off')).toBe(perplexity('none'));
    expect(perplexity('read')).not.toBe(perplexity('none'));
    expect(perplexity('shuffled-neighbours')).not.toBe(perplexity('read'));
    expect(arms['shuffled-neighbours']!.cost.foundNeighbours).toEqual(arms.read!.cost.foundNeighbours);
  });

  it('measures RPT beside random chunks and its window alone, in the windows of the model', async () => {
    const base = await LanguageModel.load(BASE);
    const shape = { chunkTokens: 4, window: 16, stride: 8 };
    await saveRpt(at('rpt'), trainedParts(RptModel.create(base, shape)));
    await base.dispose();
    writeFileSync(at('long.jsonl'), JSON.stringify({ id: 'long', text: TEXTS.join('') }));
    const config: LanguageComparisonConfig = {
      ...{ model: at('rpt'), data: at('long.jsonl'), out: at('rpt-out') },
      arms: [{ method: 'rpt' }, { name: 'one', method: 'rpt', chunkNeighbours: 1 }],
    };
    const compared = async (evaluate: LanguageComparisonConfig['evaluate'], out: string) => {
      const { arms, failures } = await compareLanguageSystems(
        { ...config, out: at(out), evaluate },
        { threads: 1 },
      );
      expect(failures).toEqual([]);
      expect(arms.map(({ name }) => name)).toEqual(['none', 'rpt', 'one', 'rpt-random', 'rpt-window']);
      return Object.fromEntries(arms.map((arm) => [arm.name, arm]));
    };
    const own = await compared(undefined, 'rpt-own');
    expect(own.none!.settings).toMatchObject({ window: 16, stride: 8 });
    const perplexities = Object.values(own).map(({ metrics }) => metrics.perplexity!.mean);
    expect(own['rpt-window']!.metrics.perplexity!.mean).toBe(own.none!.metrics.perplexity!.mean);
    expect(new Set(perplexities).size).toBe(4);
    expect(own.one!.cost.foundNeighbours!.mean).toBeLessThan(own.rpt!.cost.foundNeighbours!.mean);
    const others = await compared({ window: 24, stride: 4 }, 'rpt-others');
    expect(others.rpt!.settings).toMatchObject({ window: 24, stride: 4 });
  });

  it('leaves no folder if its model or its data cannot be read', async () => {
    const readable = { model: BASE, data: at('test.jsonl') };
    for (const given of [{ model: at('no-model') }, { data: at('none.jsonl') }]) {
      const config = { ...readable, ...given, out: at('never'), arms: [{ method: 'none' }] };
      await expect(compareLanguageSystems(config, { threads: 1 })).rejects.toThrow(UndriftError);
      expect(existsSync(at('never'))).toBe(false);
    }
  });

  it('gives controls in front of the text the passages of the arms and the ways of reading them', () => {
    const controls = (config: Partial<LanguageComparisonConfig>) =>
      checkLanguageComparison({ model: 'm', data: 'd', out: 'o', arms: [], ...config })
        .arms.filter(({ name }) => name === 'random' || name === 'oracle')
        .map(({ options }) => options);
    const arms = [
      { name: 'first', method: 'replug', passageData: 'p', ensemble: 2, retriever: 'bm25', passageSeed: 3 },
      { name: 'second', method: 'in-context', passageData: 'q', maxOverlap: 0.2, passageTokens: 9 },
    ];
    const readable = { passageData: 'p', maxOverlap: 0.2, passageTokens: 9 };
    expect(controls({ arms })).toEqual([
      { ...readable, retriever: 'random', reranker: 'none' },
      { ...readable, reranker: 'oracle' },
    ]);
    expect(controls({ arms, base: { passageData: 'b', maxOverlap: 0.5 } })[1]).toEqual({
      passageData: 'b',
      maxOverlap: 0.5,
      passageTokens: 9,
      reranker: 'oracle',
    });
  });

  it('has no control of an arm to which it does not apply', () => {
    const names = (arms: LanguageComparisonConfig['arms']) =>
      checkLanguageComparison({ model: 'm', data: 'd', out: 'o', arms }).arms.map(({ name }) => name);
    expect(names([{ method: 'knn-lm', cache: true, cacheTheta: 1 }])).toEqual(['none', 'knn-lm']);
    expect(names([{ method: 'retro', neighbours: 'shuffled' }])).toEqual(['none', 'retro']);
    expect(names([{ name: 'random-keys', method: 'knn-lm', datastore: 's' }])).toEqual([
      'none',
      'random-keys',
    ]);
    const rpt = checkLanguageComparison({
      ...{ model: 'm', data: 'd', out: 'o', base: { chunkNeighbours: 3 } },
      arms: [{ method: 'rpt', chunkNeighbours: 1 }],
    }).arms;
    expect(rpt.map(({ name, options }) => [name, options.chunkNeighbours])).toEqual([
      ['none', undefined],
      ['rpt', 1],
      ['rpt-random', 1],
      ['rpt-window', undefined],
    ]);
    expect(names([{ method: 'replug' }, { method: 'knn-lm', datastore: 's' }])).toEqual([
      ...['none', 'replug', 'knn-lm', 'random', 'oracle', 'random-keys'],
    ]);
  });
});
