import { expect, it } from 'vitest';
import { Graph } from '../../graph/graph.ts';
import { createRetriever } from '../../models/retriever/create-retriever.ts';
import { maskedEncoder } from '../../models/retriever/masked-encoder.ts';
import { TokenFeeds } from '../../models/retriever/token-feeds.ts';
import { scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { rngKey } from '../../util/rng.ts';
import { spanBatch, spanLoss } from './span-batch.ts';

const TEXTS = [
  'the red fox saw a blue bird near the old oak and the red fox went home',
  'a blue bird saw the red fox under the old oak while a cold wind came',
  'nobody else came near the old oak because the cold wind blew hard',
];
const tokenizer = Tokenizer.fromJson(trainVocabulary(TEXTS, { model: 'wordpiece', vocabSize: 120 }));
const retriever = createRetriever({
  ...{
    kind: 'transformer',
    tokenizer,
    hidden: 16,
    layers: 1,
    heads: 2,
    maxDocTokens: 64,
    maxQueryTokens: 64,
  },
});
const model = maskedEncoder(retriever);
const pieces = TEXTS.map((text) => tokenizer.encodeRaw(text));
const draw = (step: number) => spanBatch(pieces, model, rngKey(1, step, 'npm/spans'));

it('a batch has two masks a span, and as right tokens the ends of its phrase in other pieces', () => {
  let seen = 0;
  for (let step = 0; step < 20; step++) {
    const { masked, keys, spans, feeds } = draw(step);
    expect(masked.ids.filter((id) => id === model.mask).length).toBe(2 * spans);
    expect(keys.ids.includes(model.mask)).toBe(false);
    const K = keys.batch * keys.tokens;
    const at = (name: string, v: number) => Number((feeds[`spans/${name}`]!.data as BigInt64Array)[v]);
    const marked = (name: string, v: number) => {
      const data = feeds[`spans/${name}`]!.data as Uint8Array;
      return Array.from({ length: K }, (_, k) => k).filter((k) => data[v * K + k] === 1);
    };
    for (let v = 0; v < spans; v++) {
      const [first, second] = [at('first', v), at('second', v)];
      expect([masked.ids[first], masked.ids[second], second]).toEqual([model.mask, model.mask, first + 1]);
      const own = Math.floor(first / masked.tokens);
      const allowed = marked('allowed', v);
      // All tokens of other pieces, without special tokens and padding.
      expect(allowed.map((k) => keys.ids[k])).toEqual(
        pieces.filter((_, s) => s !== own).flatMap((p) => [...p]),
      );
      const [starts, ends] = [marked('startsHere', v), marked('endsHere', v)];
      expect(starts.length).toBeGreaterThan(0);
      expect(ends.length).toBe(starts.length);
      const phrases = starts.map((start, i) => tokenizer.decode(keys.ids.subarray(start, ends[i]! + 1)));
      expect(new Set(phrases).size).toBe(1);
      // The masked piece is the unmasked one with the phrase in place of the masks.
      const row = [...masked.ids.subarray(own * masked.tokens, (own + 1) * masked.tokens)];
      const before = row.slice(1, first - own * masked.tokens).filter((id) => id !== model.mask);
      const text = TEXTS[own]!;
      expect(text).toContain(phrases[0]);
      if (!row.slice(0, first - own * masked.tokens).includes(model.mask))
        expect(text.startsWith(`${tokenizer.decode(before)} ${phrases[0]}`.trim())).toBe(true);
      for (const k of [...starts, ...ends]) expect(allowed).toContain(k);
      seen += 1;
    }
  }
  expect(seen).toBeGreaterThan(40);
});

it('with several documents it masks what the document repeats, and looks for it in all of them', () => {
  const others = ['a cold wind blew', 'the red fox saw a cold wind'].map((text) => tokenizer.encodeRaw(text));
  const all = [...pieces.slice(0, 2), ...others];
  const contains = (piece: Int32Array, phrase: readonly number[]) =>
    piece.some((_, at) => phrase.every((id, i) => piece[at + i] === id));
  let [spanned, abroad] = [0, 0];
  for (let step = 0; step < 20; step++) {
    const { masked, keys, spans, feeds } = spanBatch(all, model, rngKey(1, step, 'npm/spans'), [4, 4, 7, 7]);
    const K = keys.batch * keys.tokens;
    for (let v = 0; v < spans; v++) {
      const [starts, ends] = ['startsHere', 'endsHere'].map((name) => {
        const marks = (feeds[`spans/${name}`]!.data as Uint8Array).subarray(v * K, (v + 1) * K);
        return [...marks.keys()].filter((k) => marks[k] === 1);
      }) as [number[], number[]];
      const own = Math.floor(Number((feeds['spans/first']!.data as BigInt64Array)[v]) / masked.tokens);
      const phrase = [...keys.ids.subarray(starts[0]!, ends[0]! + 1)];
      // The neighbour in the document has the phrase; right tokens are those of every other piece.
      expect(contains(all[own ^ 1]!, phrase)).toBe(true);
      const found = new Set(starts.map((at) => Math.floor(at / keys.tokens)));
      const wanted = [0, 1, 2, 3].filter((s) => s !== own && contains(all[s]!, phrase));
      expect([...found].sort()).toEqual(wanted);
      const allowed = (feeds['spans/allowed']!.data as Uint8Array).subarray(v * K, (v + 1) * K);
      const tokens = all.reduce((sum, piece, s) => sum + (s === own ? 0 : piece.length), 0);
      expect(allowed.reduce((sum, each) => sum + each, 0)).toBe(tokens);
      spanned += 1;
      if (wanted.length > 1) abroad += 1;
    }
  }
  expect(spanned).toBeGreaterThan(40);
  expect(abroad).toBeGreaterThan(10);
});

it('a batch without spans has a loss of 0, and the loss of others is that of an untrained model', async () => {
  const graph = new Graph('spans');
  graph.output('loss', spanLoss(graph, model, retriever.declare(graph)).loss);
  const program = await Program.compile(graph, { threads: 1 });
  const feeder = new TokenFeeds(retriever.encoder.vocabSize);
  const lossOf = async ({ masked, keys, feeds }: ReturnType<typeof spanBatch>) =>
    scalarValue(
      (await program.run({ ...retriever.weights, ...feeder.feeds({ masked, keys }), ...feeds })).loss,
      'loss',
    );
  const none = spanBatch([pieces[0]!], model, rngKey(1, 0, 'npm/spans'));
  expect(none.spans).toBe(0);
  expect(await lossOf(none)).toBe(0);
  expect(await lossOf(draw(0))).toBeGreaterThan(1);
  await program.dispose();
  await retriever.dispose();
});
