/**
 * Set of strings that finds all of them that begin at a position of a text.
 *
 * The nodes lie in one hash table of typed arrays, 10 bytes for each slot: a node is a number, and an edge
 * leads from (node, UTF-16 unit) to the next node.
 */
export class Trie {
  #nodes = 1;
  #mask = 0xfff;
  /** Node from which the edge in a slot goes out, + 1; 0 for an empty slot. */
  #from = new Int32Array(this.#mask + 1);
  #unit = new Uint16Array(this.#mask + 1);
  #to = new Int32Array(this.#mask + 1);
  /** Value of the string that ends at a node, + 1; 0 for none. */
  #values = new Int32Array(1024);

  /** Adds a string with a value ≥ 0; a string that is there already gets the new value. */
  add(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      let slot = this.#slot(node, unit);
      if (this.#from[slot] === 0) {
        if (2 * this.#nodes > this.#mask) {
          this.#grow();
          slot = this.#slot(node, unit);
        }
        this.#from[slot] = node + 1;
        this.#unit[slot] = unit;
        this.#to[slot] = this.#nodes++;
      }
      node = this.#to[slot]!;
    }
    if (node >= this.#values.length) {
      const larger = new Int32Array(2 * Math.max(node, this.#values.length));
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[node] = value + 1;
  }

  /** Follows an edge from a node (0 is the root); returns the next node, or 0 where there is none. */
  next(node: number, unit: number): number {
    return this.#to[this.#slot(node, unit)]!;
  }

  /** Value of the string that ends at a node; -1 for none. */
  value(node: number): number {
    return (this.#values[node] ?? 0) - 1;
  }

  /** Finds the slot of an edge, or the empty slot in which it would be. */
  #slot(node: number, unit: number): number {
    let slot = (Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 7;
    for (; ; slot++) {
      slot &= this.#mask;
      const from = this.#from[slot]!;
      if (from === 0 || (from === node + 1 && this.#unit[slot] === unit)) return slot;
    }
  }

  #grow(): void {
    const [from, units, to] = [this.#from, this.#unit, this.#to];
    const size = 2 * from.length;
    this.#mask = size - 1;
    this.#from = new Int32Array(size);
    this.#unit = new Uint16Array(size);
    this.#to = new Int32Array(size);
    for (let i = 0; i < from.length; i++) {
      if (from[i] === 0) continue;
      const slot = this.#slot(from[i]! - 1, units[i]!);
      this.#from[slot] = from[i]!;
      this.#unit[slot] = units[i]!;
      this.#to[slot] = to[i]!;
    }
  }
}
