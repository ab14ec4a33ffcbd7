/**
 * Packs pieces into windows: the longest first, each into the fullest window that has room for it. The number of windows depends on the
 * sizes alone, whatever their order.
 *
 * @param sizes  tokens of each piece, at most `window`
 * @returns window of each piece; windows are numbered by their first piece
 */
export function bestFit(sizes: Int32Array, window: number): Int32Array {
  const bySize = Array.from({ length: window + 1 }, (): number[] => []);
  for (let piece = 0; piece < sizes.length; piece++) bySize[sizes[piece]!]!.push(piece);
  /** Windows by the room that they have left. */
  const byRoom = Array.from({ length: window + 1 }, (): number[] => []);
  const windowOf = new Int32Array(sizes.length);
  let count = 0;
  let mostRoom = 0;
  for (let size = window; size > 0; size--) {
    for (const piece of bySize[size]!) {
      let room = size;
      while (room <= mostRoom && byRoom[room]!.length === 0) room++;
      const found = room <= mostRoom ? byRoom[room]!.pop()! : count++;
      const left = (room <= mostRoom ? room : window) - size;
      windowOf[piece] = found;
      byRoom[left]!.push(found);
      mostRoom = Math.max(mostRoom, left);
    }
  }
  const numbers = new Int32Array(count).fill(-1);
  let named = 0;
  return windowOf.map((each) => {
    if (numbers[each] === -1) numbers[each] = named++;
    return numbers[each]!;
  });
}
