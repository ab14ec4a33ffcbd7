import type { JsMsg } from '@nats-io/jetstream';
import type { DecodedPart } from './row-messages.ts';
import type { EmbeddedRows } from './shard-keeper.ts';

/** Block whose parts have all arrived. */
export interface GatheredBlock {
  readonly results: EmbeddedRows;
  /** Messages to acknowledge when the block is durable. */
  readonly messages: readonly JsMsg[];
}

interface Attempt {
  readonly parts: (DecodedPart | undefined)[];
  /** Last delivery of each part. */
  readonly messages: (JsMsg | undefined)[];
  missing: number;
  /** Time of the first part. */
  readonly since: number;
}

/**
 * Collects the parts of blocks. A block is stored as a whole, so that the rows of one that is handed out again are the same.
 */
export class GatheredResults {
  private readonly attempts = new Map<string, Attempt>();

  /** Number of blocks of which parts are missing. */
  get incomplete(): number {
    return this.attempts.size;
  }

  /** Takes a part, and returns the block if it was the last one. A part that was delivered before replaces the former delivery. */
  add(part: DecodedPart, message: JsMsg): GatheredBlock | undefined {
    const key = `${part.version}/${part.attempt}/${part.parts}`;
    const attempt = this.attempts.get(key) ?? {
      parts: Array.from({ length: part.parts }, () => undefined),
      messages: [],
      missing: part.parts,
      since: performance.now(),
    };
    this.attempts.set(key, attempt);
    if (!attempt.parts[part.part]) attempt.missing -= 1;
    attempt.parts[part.part] = part;
    attempt.messages[part.part] = message;
    if (attempt.missing > 0) return undefined;
    this.attempts.delete(key);
    return { results: joinParts(attempt.parts as DecodedPart[]), messages: attempt.messages as JsMsg[] };
  }

  /**
   * Removes blocks that have been incomplete for long, whose workers are gone, and returns the messages of their parts.
   *
   * @param ageMs  age of the first part
   */
  takeAbandoned(ageMs: number): JsMsg[] {
    const taken: JsMsg[] = [];
    for (const [key, { since, messages }] of this.attempts) {
      if (performance.now() - since < ageMs) continue;
      this.attempts.delete(key);
      for (const message of messages) if (message) taken.push(message);
    }
    return taken;
  }
}

function joinParts(parts: readonly DecodedPart[]): EmbeddedRows {
  const [first] = parts;
  if (parts.length === 1) return first!;
  const count = parts.reduce((sum, { rows }) => sum + rows.length, 0);
  const D = first!.dimension;
  const joined = {
    version: first!.version,
    rows: new Uint32Array(count),
    marks: new BigUint64Array(count),
    vectors: new Float32Array(count * D),
  };
  let at = 0;
  for (const { rows, marks, vectors } of parts) {
    joined.rows.set(rows, at);
    joined.marks.set(marks, at);
    joined.vectors.set(vectors, at * D);
    at += rows.length;
  }
  return joined;
}
