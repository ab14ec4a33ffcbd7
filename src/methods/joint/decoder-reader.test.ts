import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyingReader } from '../../../test/copying-reader.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { toyTokenizer } from '../../../test/toy-training.ts';
import { createLanguageModel } from '../../models/language/create-language-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { JointRun } from '../../train/language-methods/joint-run.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { DecoderReader } from './decoder-reader.ts';
import type { JointReader } from './joint-reader.ts';
import { openReader } from './open-reader.ts';

const tokenizer = toyTokenizer();
const END = tokenizer.specialIds.sep!;
const PROMPT = '{passage} {query} {answer}';
const ASKED = { query: 'ask2y', answer: 'doc3x doc5x', candidates: ['doc3x part1 doc5x'] };
const reader = await copyingReader(tokenizer, { end: END });

/** Returns the tokens that a reader learns to predict. */
function targetOf(part: JointReader): number[] {
  const { feeds } = part.feeds([ASKED], { alone: [[[0]]] }, 'alone');
  return numbers(feeds['reader/alone/next']!);
}
const numbers = ({ data }: HostTensor) => Array.from(data as BigInt64Array, Number);

/** Opens a reader, and returns the tokens that it learns to predict and the measures of an answer. */
async function opened(options: object) {
  const notes: string[] = [];
  const open = { options: { reader, readerPrompt: PROMPT, ...options }, seed: 1 };
  const part = await openReader({ ...open, onNote: (note) => notes.push(`${note}`) });
  expect(part).toBeInstanceOf(DecoderReader);
  const { feeds } = part.feeds([ASKED], { alone: [[[0]]] }, 'alone');
  const prompt = { query: ASKED.query, answer: ASKED.answer, passages: ASKED.candidates };
  const current = await part.current();
  const found = {
    ...{ target: targetOf(part), places: numbers(feeds['reader/alone/places']!), notes },
    scores: [...(await current.scoreAnswers([prompt], { threads: 1 }))[0]!],
  };
  await current.dispose();
  await part.dispose();
  return found;
}

describe('the answer that a causal reader learns', () => {
  const answer = [...tokenizer.encodeRaw(ASKED.answer)];

  it('ends with the end token, once', async () => {
    const { target, places, notes } = await opened({});
    expect(target).toEqual([...answer, END]);
    const before = tokenizer.wrapper.before.length + tokenizer.encodeRaw('doc3x part1 doc5x ask2y').length;
    expect(places).toEqual([...target.keys()].map((j) => before - 1 + j));
    expect(notes.join()).not.toContain('end token');
  });

  it('has room for its end within the longest prompt', async () => {
    const whole =
      tokenizer.wrapper.before.length + tokenizer.encodeRaw('doc3x part1 doc5x ask2y doc3x doc5x').length;
    const { target, places } = await opened({ readerTokens: whole });
    expect(target).toEqual([...answer, END]);
    expect(places.at(-1)).toBe(whole - 2);
    await expect(opened({ readerTokens: whole - 3 })).rejects.toThrow(/without its passage/);
  });

  it('is the answer alone for a frozen reader, whose likelihoods are those of a trained one', async () => {
    const [trained, frozen] = [await opened({}), await opened({ readerTuning: 'frozen' })];
    expect(frozen.target).toEqual(answer);
    expect(frozen.scores).toEqual(trained.scores);
    expect(trained.scores).toHaveLength(answer.length);
  });

  it('ends with a line break where there is no end token, and a note says so where there is neither', async () => {
    const none = await opened({ reader: await copyingReader(tokenizer) });
    expect(none.target).toEqual(answer);
    expect(none.notes.join()).toMatch(/neither an end token nor a line break/);
    const bytes = Tokenizer.fromJson(
      trainVocabulary(['doc3x part1\ndoc5x ask2y'], { model: 'bpe', purpose: 'decoder', vocabSize: 300 }),
    );
    const model = createLanguageModel({
      ...{ kind: 'llama', tokenizer: bytes, seed: 1, maxTokens: 64, hidden: 16, layers: 1, heads: 2 },
    });
    const endless = new LanguageModel(model.decoder, bytes, model.weights, { endIds: [] });
    const settings = { lr: 1, source: 'it', prompt: PROMPT, maxTokens: undefined, tuning: {} };
    const broken = new DecoderReader(endless, settings);
    expect(bytes.decode(targetOf(broken))).toBe(' doc3x doc5x\n');
    await broken.dispose();
  });
});

it('cuts passages so that an answer has room', async () => {
  const model = await LanguageModel.load(await copyingReader(tokenizer));
  const window = model.decoder.maxTokens!;
  const settings = { lr: 1, source: 'it', prompt: PROMPT, maxTokens: undefined, tuning: 'frozen' } as const;
  const part = new DecoderReader(model, settings);
  const current = await part.current();
  const passage = Array.from({ length: window }, (_, i) => `doc${i % 9}x`).join(' ');
  const prompts = [{ query: ASKED.query, passages: [passage] }];
  for (const tokens of [5, 2 * window]) {
    const logWeights = [0];
    const texts = [
      ...(await current.write(prompts, { tokens, threads: 1 })),
      await current.writeMixed!(prompts, { tokens, threads: 1, logWeights, weights: 'fixed' }),
    ];
    for (const text of texts)
      expect(tokenizer.encodeRaw(text).length).toBe(Math.min(tokens, Math.floor(window / 2)));
  }
  await current.dispose();
  await part.dispose();
});

it('a reader that has learnt it stops after its answer', async () => {
  const record = (i: number) => ({
    query: `ask${i}y part${i % 5}`,
    positive: `doc${i}x part${i % 5}`,
    answers: [`doc${i}x`],
  });
  const out = join(tempFiles({}), 'run');
  await trainRetriever({
    ...{ data: { pairs: Array.from({ length: 8 }, (_, i) => record(i)) }, out, method: 'atlas', reader },
    ...{
      readerPrompt: PROMPT,
      candidates: 2,
      readerLr: 0.02,
      steps: 120,
      batchSize: 4,
      hidden: 16,
      threads: 1,
    },
    evalSplit: 'none',
  });
  const run = await JointRun.open(out);
  try {
    for (const i of [1, 4]) {
      const { query, positive } = record(i);
      const answer = await run.write(query, [{ text: positive, score: 1 }], { tokens: 8 });
      expect(answer.split(' ')).toHaveLength(1);
    }
  } finally {
    await run.dispose();
  }
});
