/** Events in the order of their times; those of the same time in the order in which they came. */
export class EventQueue<Event> {
  private readonly heap: { time: number; order: number; event: Event }[] = [];
  private added = 0;

  get size(): number {
    return this.heap.length;
  }

  /** Adds an event at a time. */
  add(time: number, event: Event): void {
    const { heap } = this;
    const entry = { time, order: this.added++, event };
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  /** Removes the earliest event. */
  next(): { readonly time: number; readonly event: Event } | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let i = 0;
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

const isBefore = (
  a: { readonly time: number; readonly order: number },
  b: { readonly time: number; readonly order: number },
): boolean => a.time < b.time || (a.time === b.time && a.order < b.order);

/** First in, first out, without moving what waits. */
export class Fifo<Item> {
  private items: Item[] = [];
  private start = 0;

  get size(): number {
    return this.items.length - this.start;
  }

  push(item: Item): void {
    this.items.push(item);
  }

  shift(): Item | undefined {
    if (this.size === 0) return undefined;
    const item = this.items[this.start++]!;
    if (this.start > 4096 && 2 * this.start > this.items.length) {
      this.items = this.items.slice(this.start);
      this.start = 0;
    }
    return item;
  }
}

/** Something that does one thing after the other, at a rate. */
export class Server {
  /** When it has done all that it was asked to. */
  free = 0;
  /** Time that it worked. */
  busy = 0;

  /** Asks for work that takes so long. Returns when it is done. */
  ask(now: number, duration: number): number {
    this.busy += duration;
    this.free = Math.max(this.free, now) + duration;
    return this.free;
  }

  /** Stands still until a time. */
  stopUntil(time: number): void {
    this.free = Math.max(this.free, time);
  }
}

/** Reproducible random numbers (Mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Time until the next of events that come at a rate; infinite for a rate of 0. */
  exponential(rate: number): number {
    return rate === 0 ? Number.POSITIVE_INFINITY : -Math.log(1 - this.uniform()) / rate;
  }

  /** Normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}
