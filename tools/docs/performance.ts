/**
 * @file Makes the tables of docs/performance.md from the result files of `npm run bench:all`. As a command it writes this page, and the
 * table of README.md from the same file.
 */
import { fileURLToPath } from 'node:url';
import { filesOf, type MadePage, writeFiles } from './page.ts';
import { cacheBlocks } from './performance-cache.ts';
import { clusterBlocks } from './performance-cluster.ts';
import { encodeBlocks } from './performance-encode.ts';
import { jointBlocks } from './performance-joint.ts';
import { languageModelBlocks } from './performance-lm.ts';
import { serveBlocks } from './performance-serve.ts';
import { stepBlocks } from './performance-step.ts';
import { readmePage } from './readme.ts';

/** Generated parts of docs/performance.md. Every block is filled, with or without a measurement. */
export const performancePage = (): MadePage => ({
  page: 'docs/performance.md',
  blocks: {
    ...stepBlocks(),
    ...encodeBlocks(),
    ...cacheBlocks(),
    ...serveBlocks(),
    ...clusterBlocks(),
    ...languageModelBlocks(),
    ...jointBlocks(),
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const page of [performancePage(), readmePage()]) writeFiles(filesOf(page));
}
