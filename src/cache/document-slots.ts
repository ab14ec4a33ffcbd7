import { NONE } from '../util/vector-rows.ts';

/** Places of the hash table for each row. */
const PLACES_PER_ROW = 1.5;

/**
 * Finds the slot of a document in a table that holds each document at most once: a hash table with linear probing.
 * It holds slots only; their documents are read from the table. Memory: 6 bytes a row.
 */
export class DocumentSlots {
  private readonly documents: Int32Array;
  /** Slot + 1 at each place; 0 for a free place. */
  private readonly places: Int32Array;

  /** @param documents  document of each slot, `NONE` for an empty slot; read whenever a slot is looked up */
  constructor(documents: Int32Array) {
    this.documents = documents;
    this.places = new Int32Array(Math.ceil(PLACES_PER_ROW * documents.length) + 1);
    for (let slot = 0; slot < documents.length; slot++) if (documents[slot] !== NONE) this.add(slot);
  }

  /** Memory of the hash table, in bytes. */
  get bytes(): number {
    return this.places.byteLength;
  }

  /** Returns the slot of a document, or `NONE`. */
  find(document: number): number {
    const { places, documents } = this;
    let at = this.firstPlace(document);
    for (let found = places[at]!; found !== 0; found = places[at]!) {
      if (documents[found - 1] === document) return found - 1;
      at = at + 1 === places.length ? 0 : at + 1;
    }
    return NONE;
  }

  /** Adds the document that a slot now holds. */
  add(slot: number): void {
    const { places } = this;
    let at = this.firstPlace(this.documents[slot]!);
    while (places[at] !== 0) at = at + 1 === places.length ? 0 : at + 1;
    places[at] = slot + 1;
  }

  /** Removes the document that a slot still holds. */
  remove(slot: number): void {
    const { places } = this;
    const { length } = places;
    let free = this.firstPlace(this.documents[slot]!);
    while (places[free] !== slot + 1) free = free + 1 === length ? 0 : free + 1;
    // Later entries of the same run move up where the gap would end the search for them.
    for (let at = free + 1 === length ? 0 : free + 1; places[at] !== 0; at = at + 1 === length ? 0 : at + 1) {
      const first = this.firstPlace(this.documents[places[at]! - 1]!);
      const isReached = free <= at ? free < first && first <= at : free < first || first <= at;
      if (isReached) continue;
      places[free] = places[at]!;
      free = at;
    }
    places[free] = 0;
  }

  /** Multiplicative hashing by the golden ratio. */
  private firstPlace(document: number): number {
    return Math.floor(((Math.imul(document, 0x9e3779b1) >>> 0) * this.places.length) / 2 ** 32);
  }
}
