import { afterAll, expect } from 'vitest';
import { shareSessions } from './shared-sessions.ts';
import { removeTempFiles } from './temp-files.ts';

/** Variables by which the environment steers this project, and the working folder: what a test file could leave to the next one. */
const surroundings = () => ({
  folder: process.cwd(),
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(HF|UNDRIFT)_/.test(name))),
});

shareSessions();

// This file is evaluated before each test file. Test files run one after the other in processes that they share.
const before = surroundings();
afterAll(() => {
  removeTempFiles();
  expect(surroundings(), 'working folder and environment after this test file').toEqual(before);
});
