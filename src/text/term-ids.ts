/** Most entries of one map. V8 refuses the 2²⁴-th insertion with `RangeError: Map maximum size exceeded`. */
const MOST_ENTRIES = 2 ** 24 - 2 ** 16;

/** Numbers terms in the order in which they are added: term → 0, 1, …. The number of terms is limited by memory only. */
export class TermIds {
  readonly #mostEntries: number;
  readonly #first = new Map<string, number>();
  /** Map that takes new terms. */
  #last = this.#first;
  /** All maps, once there are several; a term is in one of them. */
  #maps: Map<string, number>[] | undefined;
  #size = 0;

  /** @param mostEntries  number of terms after which another map is begun */
  constructor(mostEntries = MOST_ENTRIES) {
    this.#mostEntries = mostEntries;
  }

  /** Number of terms. */
  get size(): number {
    return this.#size;
  }

  /** Returns the number of a term; undefined for an unknown one. */
  get(term: string): number | undefined {
    if (this.#maps === undefined) return this.#first.get(term);
    for (const map of this.#maps) {
      const id = map.get(term);
      if (id !== undefined) return id;
    }
    return undefined;
  }

  /** Adds a term that is not there yet, and returns its number. */
  add(term: string): number {
    if (this.#last.size >= this.#mostEntries) {
      this.#last = new Map();
      this.#maps ??= [this.#first];
      this.#maps.push(this.#last);
    }
    this.#last.set(term, this.#size);
    return this.#size++;
  }
}
