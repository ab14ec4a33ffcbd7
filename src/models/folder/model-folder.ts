/** @file Model folders: a retriever on disk, in formats that other programs read too. */

export type { LoadOptions } from './load-options.ts';
export { loadRetriever } from './load-retriever.ts';
export { type SaveOptions, saveRetriever } from './save-retriever.ts';
