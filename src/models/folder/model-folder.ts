/** @file Model folders: a retriever on the disk, in the formats that others read too. */
export { type LoadOptions, loadRetriever } from './load-retriever.ts';
export { type SaveOptions, saveRetriever } from './save-retriever.ts';
