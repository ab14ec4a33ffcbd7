/** Set of numbers of passages, one bit for each number that the store has given. */
export class PassageSet {
  private readonly bits: Uint8Array;
  private members = 0;

  /** @param count  numbers that the store has given: 0 to `count` − 1 */
  constructor(count: number) {
    this.bits = new Uint8Array(Math.ceil(count / 8));
  }

  /** Number of passages in the set. */
  get size(): number {
    return this.members;
  }

  has(pid: number): boolean {
    return (this.bits[pid >> 3]! & (1 << (pid & 7))) !== 0;
  }

  add(pid: number): void {
    if (this.has(pid)) return;
    this.bits[pid >> 3]! |= 1 << (pid & 7);
    this.members += 1;
  }

  delete(pid: number): void {
    if (!this.has(pid)) return;
    this.bits[pid >> 3]! &= ~(1 << (pid & 7));
    this.members -= 1;
  }
}
