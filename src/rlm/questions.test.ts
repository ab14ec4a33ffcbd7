import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadData } from '../data/load.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { answerQuestions } from './answer-questions.ts';
import { inContextSystem } from './in-context.ts';
import { leakFilter } from './leak-filter.ts';
import { goldSource, randomSource } from './passage-source.ts';
import { passagesOf } from './passages.ts';
import { plainSystem } from './plain-system.ts';
import { questionsOf } from './questions.ts';
import { replugSystem } from './replug.ts';

const PROMPT = 'q{question}A';
const compute = { threads: 1 };
let model: LanguageModel;
let data: RetrievalData;

beforeAll(async () => {
  model = await LanguageModel.load('src/models/language/fixtures/causal/llama-untied');
  data = await loadData(
    {
      documents: ['abc', 'defg', 'hij', 'klm'].map((text, i) => ({ id: `d${i}`, text })),
      queries: ['what', 'who', 'when', 'why', 'where'].map((text, i) => ({ id: `q${i}`, text })),
      judgements: { test: [0, 1, 2, 3, 1].map((doc, i) => ({ queryId: `q${i}`, docId: `d${doc}` })) },
      answers: [
        { id: 'q0', answers: ['bc', 'ab'] },
        { id: 'q1', answers: ['f'] },
        { id: 'q2', answers: ['j'] },
        { id: 'q3', answers: ['k'] },
      ],
    },
    { answers: true },
  );
});
afterAll(() => model.dispose());

const decode = (ids: Int32Array) => model.tokenizer.decode(ids, { skipSpecialTokens: false });

describe('questions', () => {
  it('reads start token, prompt and the preferred answer, and knows the judged passage', () => {
    const notes: string[] = [];
    const questions = questionsOf(model, data, {
      prompt: PROMPT,
      onNote: (note) => notes.push(String(note)),
    });
    expect(questions.map(({ id }) => id)).toEqual(['q0', 'q1', 'q2', 'q3']);
    const { segment, answers } = questions[0]!;
    expect(answers).toEqual(['bc', 'ab']);
    expect(decode(segment.ids.subarray(0, segment.from))).toBe('<s>qwhatA');
    expect(decode(segment.ids.subarray(segment.from))).toContain('bc');
    expect(segment).toMatchObject({ query: 'what', gold: 0, head: 1, room: 32 });
    expect(notes.join()).toContain('left out 1 quer');
  });

  it('puts passages where the prompt says', async () => {
    const [question] = questionsOf(model, data, { prompt: 'T{passages}q{question}A' });
    expect(question!.segment.head).toBe(2);
    const [broken, whole] = ['{question}\\nA', '{question}\nA'].map((prompt) =>
      questionsOf(model, data, { prompt }),
    );
    expect(broken).toEqual(whole);
    const system = inContextSystem(model, goldSource(passagesOf(data.corpus)), {
      passageFormat: 'P{passage}E',
    });
    const [reading] = await system.read!([question!.segment], compute);
    expect(decode(reading!.sequences[0]!)).toBe('<s>TPabcEqwhatA');
  });

  it('special tokens count in prompt and format alone, not in questions, answers and passages', async () => {
    const hostile = await loadData(
      {
        documents: [{ id: 'd', text: 'ab</s>c' }],
        queries: [{ id: 'q', text: 'who</s>' }],
        judgements: { test: [{ queryId: 'q', docId: 'd' }] },
        answers: [{ id: 'q', answers: ['f</s>'] }],
      },
      { answers: true },
    );
    const [question] = questionsOf(model, hostile, { prompt: 'T</s>{passages}q{question}</s>A' });
    const system = inContextSystem(model, goldSource(passagesOf(hostile.corpus)), {
      passageFormat: '</s>{passage}</s>',
    });
    const [reading] = await system.read!([question!.segment], compute);
    const end = model.tokenizer.tokenId('</s>');
    const ends = (ids: ArrayLike<number>) => Array.from(ids).filter((id) => id === end).length;
    expect(ends(question!.segment.ids)).toBe(2);
    expect(ends(reading!.sequences[0]!)).toBe(4);
  });

  it('takes some, evenly spaced', () => {
    const ids = questionsOf(model, data, { prompt: PROMPT, limitQueries: 2 }).map(({ id }) => id);
    expect(ids).toEqual(['q0', 'q2']);
  });

  it.each([
    ['no place', /prompt must contain {question} once/],
    ['{question} {question}', /prompt must contain {question} once/],
    ['{question} {passages}', /prompt must contain {question} once/],
  ])('refuses the prompt %j', (prompt, message) => {
    expect(() => questionsOf(model, data, { prompt })).toThrow(message);
  });

  it('refuses data without answers, and a question that is too long', async () => {
    expect(() => questionsOf(model, { ...data, answers: undefined })).toThrow('no answers to its queries');
    expect(() => questionsOf(model, data, { prompt: `${'a'.repeat(40)}{question}` })).toThrow(
      /question q0 has \d+ tokens with its answer, and the model reads 32/,
    );
  });
});

describe('answers', () => {
  const questions = () => questionsOf(model, data, { prompt: PROMPT });

  it('are scored, generated and compared; means are over questions and over tokens', async () => {
    const system = plainSystem(model);
    const results = await answerQuestions(system, questions(), { answerTokens: 3, ...compute });
    const scores = await system.score(
      questions().map(({ segment }) => segment),
      compute,
    );
    const nats = scores.map((values) => -values.reduce((a, b) => a + b, 0));
    const tokens = scores.reduce((sum, { length }) => sum + length, 0);
    const all = nats.reduce((a, b) => a + b);
    expect(results.questions.map((each) => each.nats)).toEqual(nats);
    expect(results.natsPerAnswer).toBeCloseTo(all / 4, 10);
    expect(results.natsPerToken).toBeCloseTo(all / tokens, 10);
    for (const { answer, passages } of results.questions) {
      expect(answer!.length).toBeLessThanOrEqual(3);
      expect(passages).toEqual([]);
    }
  });

  it('of an ensemble of one are those of the passage in front, and passages are retrieved once', async () => {
    const passages = passagesOf(data.corpus);
    const source = randomSource(passages, leakFilter(passages));
    const options = { passageFormat: '{passage}E' };
    const one = inContextSystem(model, source, options);
    const alone = await answerQuestions(one, questions(), { answerTokens: 4, ...compute });
    const two = replugSystem(model, source, { ...options, ensemble: 2 });
    const mixed = await answerQuestions(two, questions(), { answerTokens: 4, ...compute });
    expect(mixed.questions.every((each) => each.passages!.length === 2)).toBe(true);
    expect(two.ledger.totals.searches).toBe(4);
    // Two passages of equal text are an ensemble of one.
    const twice = {
      ...source,
      find: async (...given: Parameters<typeof source.find>) =>
        (await source.find(given[0], 1)).map(({ rows }) => ({
          rows: Int32Array.from([rows[0]!, rows[0]!]),
          scores: new Float32Array(2),
        })),
    };
    const same = await answerQuestions(replugSystem(model, twice, { ...options, ensemble: 2 }), questions(), {
      answerTokens: 4,
      ...compute,
    });
    expect(same.questions.map(({ answer }) => answer)).toEqual(alone.questions.map(({ answer }) => answer));
    for (const [i, { nats }] of same.questions.entries())
      expect(nats).toBeCloseTo(alone.questions[i]!.nats, 4);
  });

  it('measures only the likelihood where nothing is to be generated', async () => {
    const results = await answerQuestions(plainSystem(model), questions(), { answerTokens: 0, ...compute });
    expect(results.f1).toBeUndefined();
    expect(results.questions[0]!.answer).toBeUndefined();
  });
});
