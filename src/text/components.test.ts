import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { DataError } from '../util/errors.ts';
import { Tokenizer } from './tokenizer.ts';

/** Ids by Hugging Face's library for every use of every component, made by tools/reference/tokenizer_components.py. */
interface Case {
  model: string;
  changes?: object;
  normalizer?: { type: string };
  pre_tokenizer?: { type: string };
  added?: object[];
  hashes: string;
}
const golden: { texts: string[]; models: Record<string, object>; cases: Case[] } = JSON.parse(
  gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', 'components.json.gz'))).toString(),
);

/** Ids of a text; [0xffffffff] where the tokenizer has no token for a part of it, as in the golden file. */
function idsOf(tokenizer: Tokenizer, text: string): Uint32Array {
  try {
    return Uint32Array.from(tokenizer.encode(text));
  } catch (error) {
    expect(error).toBeInstanceOf(DataError);
    return Uint32Array.of(0xffffffff);
  }
}

const name = ({ hashes: _hashes, ...parts }: Case) => JSON.stringify(parts);
const groups = new Map<string, Case[]>();
for (const each of golden.cases) groups.set(kind(each), [...(groups.get(kind(each)) ?? []), each]);

function kind({ normalizer, pre_tokenizer, added, model }: Case): string {
  const types = [normalizer?.type, pre_tokenizer?.type].filter((each) => each !== undefined);
  return [model, ...types, ...(added ? ['added tokens'] : [])].join(', ');
}

describe('ids of Hugging Face’s library with', () => {
  test.each([...groups.keys()])('%s', (group) => {
    const wrong = groups.get(group)!.flatMap((each) => {
      const { hashes, model, changes, added = [], normalizer = null, pre_tokenizer = null } = each;
      const tokenizer = Tokenizer.fromJson({
        model: { ...golden.models[model], ...changes },
        added_tokens: added,
        normalizer,
        pre_tokenizer,
      });
      return golden.texts.flatMap((text, i) => {
        const ids = idsOf(tokenizer, text);
        const hash = createHash('sha256').update(new Uint8Array(ids.buffer)).digest('hex').slice(0, 4);
        return hash === hashes.slice(4 * i, 4 * i + 4)
          ? []
          : [`${name(each)}: ${JSON.stringify(text)} → ${ids}`];
      });
    });
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});
