import { describe, expect, it } from 'vitest';
import { ShapeError } from '../util/errors.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import { CellPages, PAGE_ROWS } from './cell-pages.ts';

/** Slots of a cell, in order, as the pages list them. */
const listed = (pages: CellPages, cell: number): number[] =>
  pages
    .pagesIn(cell)
    .flatMap((page, i) =>
      Array.from({ length: Math.min(PAGE_ROWS, pages.size(cell) - i * PAGE_ROWS) }, (_, at) =>
        pages.slotAt(page, at),
      ),
    );

const ROWS = 1000;
const CELLS = 3;

function moved(): CellPages {
  const pages = new CellPages(ROWS, CELLS);
  for (let slot = 0; slot < ROWS; slot++) pages.move(slot, slot % CELLS);
  const random = new Int32Array(4000);
  randomInts(rngKey(1, 0, 'moves'), ROWS, random);
  for (const [i, slot] of random.entries()) pages.move(slot, (slot + i) % CELLS);
  return pages;
}

describe('CellPages', () => {
  it('lists every slot once, in its cell and at its place, after thousands of moves', () => {
    const pages = moved();
    const found = Array.from({ length: CELLS }, (_, cell) => listed(pages, cell));
    expect(found.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: ROWS }, (_, slot) => slot));
    for (const [cell, slots] of found.entries()) {
      expect(slots.every((slot, place) => pages.cellOf[slot] === cell && pages.placeOf[slot] === place)).toBe(
        true,
      );
    }
  });

  it('uses pages again that a cell has emptied', () => {
    const pages = new CellPages(PAGE_ROWS, 2);
    const { length } = pages.slots;
    for (let turn = 1; turn <= 20; turn++)
      for (let slot = 0; slot < PAGE_ROWS; slot++) pages.move(slot, turn % 2);
    expect(pages.slots.length).toBe(length);
  });

  it('grows when cells hold many part-filled pages', () => {
    const pages = new CellPages(10, 100);
    for (let slot = 0; slot < 10; slot++) pages.move(slot, 10 * slot);
    expect([...pages.cellOf]).toEqual(Array.from({ length: 10 }, (_, slot) => 10 * slot));
  });

  it('restores the order within cells', () => {
    const pages = moved();
    const restored = new CellPages(ROWS, CELLS);
    restored.restore(pages.cellOf, pages.placeOf);
    for (let cell = 0; cell < CELLS; cell++) expect(listed(restored, cell)).toEqual(listed(pages, cell));
  });

  it('refuses lists of another table', () => {
    const pages = moved();
    expect(() => new CellPages(ROWS + 1, CELLS).restore(pages.cellOf, pages.placeOf)).toThrow(ShapeError);
    expect(() => new CellPages(ROWS, CELLS - 1).restore(pages.cellOf, pages.placeOf)).toThrow(ShapeError);
    expect(() =>
      new CellPages(ROWS, CELLS).restore(
        pages.cellOf,
        pages.placeOf.map(() => ROWS),
      ),
    ).toThrow(ShapeError);
  });
});
