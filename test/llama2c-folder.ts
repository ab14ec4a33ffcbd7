import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../src/io/safetensors.ts';

/**
 * Writes a Llama of llama2.c as a Hugging Face folder.
 *
 * Two things differ. llama2.c has the elements of a rotary pair at 2i and 2i + 1 of a head; Hugging Face has
 * them at i and i + S/2. llama2.c has a vocabulary of pieces with scores and literal spaces; Hugging Face has
 * a BPE with merges.
 *
 * @param from  folder with config.json, model.safetensors, tokenizer.json of llama2.c
 * @param to  existing folder to write to
 */
export async function llama2cFolder(from: string, to: string): Promise<void> {
  const json = (name: string) => JSON.parse(readFileSync(join(from, name), 'utf8'));
  const { architecture, rope_layout: _, ...config } = json('config.json');
  const write = (name: string, content: unknown) => writeFileSync(join(to, name), JSON.stringify(content));
  write('config.json', { model_type: architecture, ...config });
  write('tokenizer.json', tokenizerJson(json('tokenizer.json').pieces));

  const { tensors } = await readSafetensors(join(from, 'model.safetensors'));
  const headSize = config.hidden_size / config.num_attention_heads;
  for (const [name, tensor] of Object.entries(tensors)) {
    if (!/\.[qk]_proj\.weight$/.test(name)) continue;
    const [rows, width] = tensor.dims as [number, number];
    const pairs = tensor.data as Float32Array;
    const halves = new Float32Array(pairs.length);
    for (let row = 0; row < rows; row++) {
      const place = row % headSize;
      const source = row - place + (2 * place < headSize ? 2 * place : 2 * place - headSize + 1);
      halves.set(pairs.subarray(source * width, (source + 1) * width), row * width);
    }
    tensor.data = halves;
  }
  await writeSafetensors(join(to, 'model.safetensors'), tensors);
}

/** Flags that Hugging Face's library requires for every added token. */
const PLAIN = { single_word: false, lstrip: false, rstrip: false, normalized: false };

function tokenizerJson(pieces: readonly { id: number; piece: string; score: number }[]) {
  const special = ['<unk>', '<s>', '</s>'];
  const vocabulary = pieces.map(({ piece }, id) => special[id] ?? piece.replaceAll(' ', '▁'));
  const ids = new Map(vocabulary.map((piece, id) => [piece, id]));
  // Of all pairs that can be joined, llama2.c takes the one whose result has the best score. Merges are
  // therefore ordered by that score.
  const merges = [...vocabulary.keys()]
    .sort((a, b) => pieces[b]!.score - pieces[a]!.score || a - b)
    .flatMap((id) => {
      const piece = vocabulary[id]!;
      const cuts = [...piece].map((_, i) => [...piece].slice(0, i + 1).join('')).slice(0, -1);
      const pairs = cuts.map((left) => [left, piece.slice(left.length)] as const);
      return pairs.filter(([left, right]) => ids.has(left) && ids.has(right));
    });
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true, ...PLAIN })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges,
    },
  };
}
