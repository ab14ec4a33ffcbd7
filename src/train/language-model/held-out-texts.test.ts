import { describe, expect, it } from 'vitest';
import type { TextDocument } from '../../data/text-corpus.ts';
import { chooseHeldOut, type HeldOutTexts } from './held-out-texts.ts';

async function* stream(documents: readonly TextDocument[]) {
  yield* documents;
}

const make = (count: number, length: (i: number) => number): TextDocument[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `d${i}`,
    text: `${i} `.padEnd(length(i), `word ${i % 7} `),
  }));

/** Ids on each side. */
function sides(chosen: HeldOutTexts, documents: readonly TextDocument[]) {
  const parts = documents.map((document, row) => chosen.split(document, row));
  return {
    train: parts.flatMap(({ train }) => train ?? []),
    held: parts.flatMap(({ held }) => held ?? []),
  };
}
const characters = (texts: readonly TextDocument[]) => texts.reduce((sum, { text }) => sum + text.length, 0);

describe('texts that are held out', () => {
  it('are whole documents of up to 5 % of the text, whatever the order of the documents', async () => {
    const documents = make(300, (i) => 40 + ((i * 37) % 100));
    const chosen = await chooseHeldOut(stream(documents));
    const { train, held } = sides(chosen, documents);
    expect(chosen).toMatchObject({ documents: 300, heldOut: held.length });
    expect(train.length + held.length).toBe(300);
    const share = characters(held) / characters(documents);
    expect(share).toBeGreaterThan(0.04);
    expect(share).toBeLessThanOrEqual(0.05);
    const reversed = [...documents].reverse();
    const again = sides(await chooseHeldOut(stream(reversed)), reversed);
    expect(new Set(again.held.map(({ id }) => id))).toEqual(new Set(held.map(({ id }) => id)));
  });

  it('have no copy among those to train on', async () => {
    const documents = make(200, () => 60).flatMap(({ id, text }) => [
      { id, text },
      { id: `${id} again`, text },
    ]);
    const { train, held } = sides(await chooseHeldOut(stream(documents)), documents);
    const trained = new Set(train.map(({ text }) => text));
    expect(held.length).toBeGreaterThan(10);
    expect(held.filter(({ text }) => trained.has(text))).toEqual([]);
  });

  it('are never most of the text because of one large document', async () => {
    const documents = [...make(60, () => 50), { id: 'large', text: 'large '.repeat(20_000) }];
    const { held } = sides(await chooseHeldOut(stream(documents)), documents);
    expect(held.map(({ id }) => id)).not.toContain('large');
    expect(held.length).toBeGreaterThan(0);
  });

  it('are the ends of a few long documents, cut between words', async () => {
    const documents = make(2, () => 10_000);
    const chosen = await chooseHeldOut(stream(documents));
    const { train, held } = sides(chosen, documents);
    expect(chosen.heldOut).toBe(0);
    for (const [i, { text }] of documents.entries()) {
      expect(train[i]!.text + held[i]!.text).toBe(text);
      expect(held[i]!.text).toMatch(/^\s/);
      expect(held[i]!.text.length).toBeGreaterThan(400);
      expect(held[i]!.text.length).toBeLessThanOrEqual(500);
    }
  });

  it('are none where nothing is to be held out; the digest is that of ids and texts', async () => {
    const documents = make(50, () => 50);
    const none = await chooseHeldOut(stream(documents), { holdOut: false });
    expect(sides(none, documents).held).toEqual([]);
    expect(none.fingerprint).toBe((await chooseHeldOut(stream(documents))).fingerprint);
    const other = await chooseHeldOut(stream([{ ...documents[0]!, id: 'x' }, ...documents.slice(1)]));
    expect(other.fingerprint).not.toBe(none.fingerprint);
  });
});
