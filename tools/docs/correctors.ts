/**
 * @file Makes the tables and charts of docs/correctors.md from files in bench/results/corrector/: circle.json
 *   (`bench/corrector/circle.ts`), snapshots.json (`bench/corrector/snapshots.ts`), and the files
 *   correct-….json, written by `undrift correct --direction both --json`.
 */
import { circleBlock, circleCharts } from './correctors-circle.ts';
import { betweenModels } from './correctors-models.ts';
import { snapshotBlocks, snapshotCharts } from './correctors-snapshots.ts';
import type { MadePage } from './page.ts';

/** Generated parts of docs/correctors.md. */
export const correctorsPage = (): MadePage => ({
  page: 'docs/correctors.md',
  blocks: {
    circle: circleBlock,
    ...snapshotBlocks,
    'correct-lineage': betweenModels('correct-early-late.json'),
    'correct-independent': betweenModels('correct-a-d.json'),
  },
  charts: { ...circleCharts, ...snapshotCharts },
});
