import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { lmEvalCommand } from '../cli/lm-eval.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { createMaskedLanguageModel } from '../models/masked/create-masked-language-model.ts';
import { saveMaskedLanguageModel } from '../models/masked/save-masked-language-model.ts';
import { createRetriever } from '../models/retriever/create-retriever.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import { documentPieces } from './document-pieces.ts';
import { evaluateMaskedFill } from './evaluate-masked-fill.ts';
import { evaluatePhrases } from './evaluate-npm.ts';
import type { SpanMatch } from './masked-spans.ts';

const DOCUMENTS = [
  {
    id: 'a',
    text: 'the red fox saw a blue bird near the old oak and the red fox went home to the old oak again',
  },
  { id: 'short', text: 'too short' },
  {
    id: 'b',
    text: 'a cold wind came over the hill while a cold wind blew and the hill was white over the hill',
  },
];
const SEEN = [{ id: 's', text: 'somebody saw the red fox and the hill' }];
const tokenizer = Tokenizer.fromJson(
  trainVocabulary(
    [...DOCUMENTS, ...SEEN].map(({ text }) => text),
    { model: 'wordpiece', vocabSize: 120 },
  ),
);
const retriever = createRetriever({
  ...{ kind: 'transformer', tokenizer, hidden: 16, layers: 1, heads: 2, seed: 4 },
  ...{ maxDocTokens: 12, maxQueryTokens: 12 },
});
const mean = <S extends SpanMatch>(spans: readonly S[], of: (span: S) => number) =>
  spans.reduce((sum, span) => sum + of(span), 0) / spans.length;
const lines = (documents: readonly { id: string; text: string }[]) =>
  documents.map(({ id, text }) => JSON.stringify({ _id: id, text })).join('\n');

describe('evaluatePhrases', () => {
  it('masks phrases that another piece of the document has, and averages over them', async () => {
    const found = await evaluatePhrases(retriever, DOCUMENTS, { seen: SEEN, threads: 1 });
    const { spans } = found;
    expect(spans.length).toBeGreaterThan(3);
    for (const {
      document,
      phrase,
      token,
      tokens,
      exactMatch,
      startTop1,
      startTop10,
      seen,
      found: best,
    } of spans) {
      const { text } = DOCUMENTS.find(({ id }) => id === document)!;
      const ids = [...tokenizer.encodeRaw(text)];
      expect(tokenizer.decode(ids.slice(token, token + tokens)).trim()).toBe(phrase);
      expect(text.split(phrase).length).toBeGreaterThan(2);
      expect(seen).toBe(` ${SEEN[0]!.text} `.includes(` ${phrase} `));
      expect(exactMatch).toBe(Number(best === phrase));
      expect(startTop1).toBeLessThanOrEqual(startTop10);
    }
    const long = spans.filter(({ tokens }) => tokens > 1);
    const unseen = long.filter(({ seen }) => !seen);
    expect(found).toMatchObject({ longSpans: long.length, unseenSpans: unseen.length });
    expect(found.exactMatch).toBe(mean(spans, ({ exactMatch }) => exactMatch));
    expect(found.startTop10).toBe(mean(spans, ({ startTop10 }) => startTop10));
    if (long.length > 0) expect(found.exactMatchLong).toBe(mean(long, ({ exactMatch }) => exactMatch));
    const total = DOCUMENTS.reduce((sum, { text }) => sum + tokenizer.encodeRaw(text).length, 0);
    expect(found.searchedTokens).toBe(total);
    const fewer = await evaluatePhrases(retriever, DOCUMENTS, { limitSpans: 2, threads: 1 });
    expect(fewer.spans.length).toBe(2);
    expect(fewer).not.toHaveProperty('unseenSpans');
    await expect(evaluatePhrases(retriever, [DOCUMENTS[1]!], { threads: 1 })).rejects.toThrow(
      'no document repeats a phrase',
    );
  });

  it('has the head of a masked language model as its baseline, on the same spans', async () => {
    const size = { hidden: 16, layers: 1, heads: 2, seed: 4 };
    const model = createMaskedLanguageModel({ tokenizer, ...size, maxTokens: 30 });
    const encoder = createRetriever({
      ...{ kind: 'transformer', tokenizer, ...size, maxDocTokens: 30, maxQueryTokens: 30 },
    });
    const documents = DOCUMENTS.map(({ id, text }) => ({ id, text: `${text} ${text}` }));
    const { spans: phrases } = await evaluatePhrases(encoder, documents, { seen: SEEN, threads: 1 });
    const found = await evaluateMaskedFill(model, documents, { seen: SEEN, threads: 1 });
    const placeOf = ({ document, token, phrase, tokens, seen }: SpanMatch) => [
      document,
      token,
      phrase,
      tokens,
      seen,
    ];
    expect(found.spans.map(placeOf)).toEqual(phrases.map(placeOf));
    expect(found.exactMatch).toBe(mean(found.spans, ({ exactMatch }) => exactMatch));
    // Each token is the likeliest one where the tokens before it are filled in, and those after it are masks.
    const span = found.spans.find(({ tokens }) => tokens > 1)!;
    const { corpus, pieces } = await documentPieces(documents, tokenizer, { window: 30, maxTokens: 30 });
    const { before, after } = tokenizer.wrapper;
    const [piece] = [...pieces.rows.keys()].filter((each) => {
      const at = span.token - pieces.start(each);
      return corpus.ids.get(pieces.rows[each]!) === span.document && at >= 0 && at < pieces.lengths[each]!;
    });
    const own = Int32Array.of(...before, ...pieces.tokens(piece!), ...after);
    const first = before.length + span.token - pieces.start(piece!);
    own.fill(model.maskId, first, first + span.tokens);
    for (let at = first; at < first + span.tokens; at++) {
      const places = {
        types: new Int32Array(own.length),
        places: Int32Array.of(at),
        answer: Int32Array.of(0),
      };
      own[at] = (await model.fill([{ ids: own, ...places }], { threads: 1 }))[0]![0]!;
    }
    expect(span.found).toBe(tokenizer.decode(own.subarray(first, first + span.tokens)).trim());
    const folder = tempFiles({ 'text.jsonl': lines(documents), 'seen.jsonl': lines(SEEN) });
    await saveMaskedLanguageModel(join(folder, 'model'), model);
    await model.dispose();
    const [data, seenData] = [join(folder, 'text.jsonl'), join(folder, 'seen.jsonl')];
    const given = {
      model: join(folder, 'model'),
      data,
      seenData,
      threads: '1',
      method: 'npm',
      fillBy: 'head',
    };
    const { json, text: printed } = await runCommand(lmEvalCommand, given);
    const { spans, ...expected } = found;
    expect(json).toMatchObject({ ...expected, spans: spans.length, fillBy: 'head' });
    expect(printed).toMatch(/^spans found +\d\.\d{4}\n/);
    expect(printed).not.toMatch(/searched/);
  });

  it('is undrift lm eval --method npm', async () => {
    const folder = tempFiles({ 'text.jsonl': lines(DOCUMENTS), 'seen.jsonl': lines(SEEN) });
    const model = join(folder, 'model');
    await saveRetriever(model, retriever);
    const [data, documentFile] = [join(folder, 'text.jsonl'), join(folder, 'spans.jsonl')];
    const given = { model, data, threads: '1', seenData: join(folder, 'seen.jsonl') };
    const { json, text } = await runCommand(lmEvalCommand, { ...given, method: 'npm', documentFile });
    const { spans, ...expected } = await evaluatePhrases(retriever, DOCUMENTS, { seen: SEEN, threads: 1 });
    expect(json).toMatchObject({ ...expected, spans: spans.length, method: 'npm' });
    expect(text).toMatch(
      /^spans found +\d\.\d{4}\n[\s\S]*spans, \d+ of two tokens or more, \d+ of them unseen; /,
    );
    const written = readFileSync(documentFile, 'utf8').trimEnd().split('\n');
    expect(written.map((line) => JSON.parse(line))).toEqual(spans);
    const choice = { k: 3, mostTokens: 2, temperature: 0.3, lengthPower: 0.5 };
    const { spans: others, ...chosen } = await evaluatePhrases(retriever, DOCUMENTS, {
      ...{ ...choice, seen: SEEN, threads: 1 },
    });
    expect(others.map(({ found }) => found)).not.toEqual(spans.map(({ found }) => found));
    const asked = {
      ...{ ...given, method: 'npm' },
      ...Object.fromEntries(Object.entries(choice).map(([name, value]) => [name, String(value)])),
    };
    expect((await runCommand(lmEvalCommand, asked)).json).toMatchObject(chosen);
    await expect(runCommand(lmEvalCommand, { ...asked, fillBy: 'head' })).rejects.toThrow(
      /k has no meaning with fillBy: 'head'/,
    );
    await expect(runCommand(lmEvalCommand, { ...given, method: 'npm', stride: '4' })).rejects.toThrow(
      /takes no stride/,
    );
    await expect(runCommand(lmEvalCommand, { ...given })).rejects.toThrow(/seenData belongs to method/);
  });
});
