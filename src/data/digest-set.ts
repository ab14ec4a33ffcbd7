import { createHash } from 'node:crypto';

/** 32-bit words of a digest. 96 bits: among 10^9 texts, two of one digest have a probability of 10^-11. */
const WORDS = 3;
const FIRST_SLOTS = 1 << 10;
/** Largest share of the slots in use. */
const MOST_FULL = 0.8;
const GROWTH = 1.6;

/**
 * Set of texts, of which digests of 96 bits are kept in a hash table with open addressing. Takes 15 to 24 bytes a text, whatever its
 * length; for a moment of growth the old table is kept beside the new.
 */
export class DigestSet {
  #slots = new Uint32Array(FIRST_SLOTS * WORDS);
  #size = 0;

  /** Number of texts. */
  get size(): number {
    return this.#size;
  }

  /** Memory of the table, in bytes. */
  get bytes(): number {
    return this.#slots.byteLength;
  }

  /** Tells whether a text is in the set. */
  has(text: string): boolean {
    return this.#slots[find(this.#slots, wordsOf(text))] !== 0;
  }

  /** Adds a text, and tells whether it is new. */
  add(text: string): boolean {
    const words = wordsOf(text);
    const slot = find(this.#slots, words);
    if (this.#slots[slot] !== 0) return false;
    this.#slots.set(words, slot);
    this.#size++;
    if (WORDS * this.#size > MOST_FULL * this.#slots.length) this.#grow();
    return true;
  }

  #grow(): void {
    const before = this.#slots;
    const slots = new Uint32Array(Math.ceil((GROWTH * before.length) / WORDS) * WORDS);
    for (let from = 0; from < before.length; from += WORDS) {
      if (before[from] === 0) continue;
      const words = [before[from]!, before[from + 1]!, before[from + 2]!] as const;
      slots.set(words, find(slots, words));
    }
    this.#slots = slots;
  }
}

/** Digest of a text. Its first word is never 0, which marks a free slot. */
function wordsOf(text: string): readonly [number, number, number] {
  const digest = createHash('sha256').update(text).digest();
  return [digest.readUInt32LE(0) || 1, digest.readUInt32LE(4), digest.readUInt32LE(8)];
}

/** Finds the place of a digest, or the free place where it belongs. */
function find(slots: Uint32Array, [a, b, c]: readonly [number, number, number]): number {
  for (let slot = (b % (slots.length / WORDS)) * WORDS; ; slot = (slot + WORDS) % slots.length) {
    const isOwn = slots[slot] === a && slots[slot + 1] === b && slots[slot + 2] === c;
    if (slots[slot] === 0 || isOwn) return slot;
  }
}
