/**
 * The tables and charts of docs/correctors.md, from bench/results/corrector/: circle.json (`bench/corrector/circle.ts`), snapshots.json
 * (`bench/corrector/snapshots.ts`), and correct-….json, which `undrift correct --direction both --json` wrote.
 */
import { circleBlock, circleCharts } from './correctors-circle.ts';
import { betweenModels } from './correctors-models.ts';
import { parameterBlock, snapshotBlock, snapshotCharts } from './correctors-snapshots.ts';
import type { MadePage } from './page.ts';

export const correctorsPage = (): MadePage => ({
  page: 'docs/correctors.md',
  blocks: {
    circle: circleBlock,
    'corrector-snapshots': snapshotBlock,
    'corrector-parameters': parameterBlock,
    'correct-lineage': betweenModels('correct-early-late.json'),
    'correct-independent': betweenModels('correct-a-d.json'),
  },
  charts: { ...circleCharts, ...snapshotCharts },
});
