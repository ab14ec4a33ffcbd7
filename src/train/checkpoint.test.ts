import { cpSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { DataError } from '../util/errors.ts';
import { type Checkpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';

const IDENTITY = { method: 'in-batch', lr: 0.01, seed: 1, fingerprint: 'abc' };

const checkpoint = (fill: number): Checkpoint => ({
  step: 40,
  parameters: { w: hostTensor('f32', [2, 3], new Float32Array(6).fill(fill)) },
  frozen: null,
  optimizer: { 'm/w': hostTensor('f32', [2, 3], new Float32Array(6).fill(fill / 2)) },
  method: { cache: hostTensor('f32', [4], new Float32Array(4).fill(fill)) },
  best: { value: 0.5, step: 30, evaluationsSince: 1 },
  ledger: { documentEncodes: 320, stepMs: 12.5 },
});

let run: string;
let other: string;
beforeEach(async () => {
  const folder = tempFiles();
  [run, other] = [join(folder, 'run'), join(folder, 'other')];
  await writeCheckpoint(run, checkpoint(1), IDENTITY);
  await writeCheckpoint(other, checkpoint(2), { ...IDENTITY, seed: 2 });
});
const file = (name: string, of = run) => join(of, 'checkpoint', name);

const FILES = [
  'parameters.safetensors',
  'optimizer.safetensors',
  'method.safetensors',
  'state.json',
  'ledger.json',
];

it('is read as it was written', async () => {
  const { verified, ...read } = await readCheckpoint(run, IDENTITY);
  expect(verified).toBe(true);
  expect(read).toEqual(checkpoint(1));
});

it.each(FILES)('refuses %s flipped, cut, swapped or removed, by name', async (name) => {
  const bytes = readFileSync(file(name));
  const refused = async (message: RegExp) => {
    const reading = readCheckpoint(run, IDENTITY);
    await expect(reading).rejects.toThrow(DataError);
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toThrow(
      new RegExp(`checkpoint/${name}: .*\\n {2}help: restore the checkpoint`),
    );
  };
  for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    writeFileSync(file(name), flipped);
    await refused(/was damaged or replaced: its SHA-256 begins with [0-9a-f]{12}, manifest\.json says/);
  }
  writeFileSync(file(name), bytes);
  truncateSync(file(name), bytes.length - 1);
  await refused(/has \d+ bytes, manifest\.json says \d+/);
  if (!name.endsWith('.json')) {
    cpSync(file(name, other), file(name));
    await refused(/was damaged or replaced/);
  }
  rmSync(file(name));
  await refused(/is missing, and manifest\.json lists it/);
});

it('refuses the whole checkpoint of another run, and another value of a setting, by field', async () => {
  await expect(readCheckpoint(run, { ...IDENTITY, lr: 0.02 })).rejects.toThrow(
    /is that of another run\n {2}lr: 0\.01 in the checkpoint, 0\.02 in the run\n {2}help: .*settings\.json/,
  );
  await expect(readCheckpoint(run, { ...IDENTITY, later: 1 })).resolves.toMatchObject({ step: 40 });
  rmSync(join(run, 'checkpoint'), { recursive: true });
  cpSync(join(other, 'checkpoint'), join(run, 'checkpoint'), { recursive: true });
  await expect(readCheckpoint(run, IDENTITY)).rejects.toThrow(/seed: 2 in the checkpoint, 1 in the run/);
});

it('refuses a checkpoint without its manifest, or with a damaged one', async () => {
  const text = readFileSync(file('manifest.json'), 'utf8');
  for (const [damaged, message] of [
    ['null', /manifest\.json: expected a JSON object/],
    ['{"format": 2}', /manifest\.json: this is not the manifest of a checkpoint/],
    [text.replace('"format": 2', '"format": 3'), /has format 3, this version of Undrift reads 2/],
    [text.replace(/"bytes": \d+/, '"bytes": "9"'), /has \d+ bytes, manifest\.json says 9/],
    [
      text.replace('"state.json"', '"states.json"'),
      /state\.json: the file has \d+ bytes, manifest\.json says nothing of it/,
    ],
  ] as const) {
    writeFileSync(file('manifest.json'), damaged);
    await expect(readCheckpoint(run, IDENTITY)).rejects.toThrow(message);
  }
  rmSync(file('manifest.json'));
  await expect(readCheckpoint(run, IDENTITY)).rejects.toThrow(/has lost its manifest\.json/);
});

/** Makes the checkpoint one of an early version, without a format number and a manifest. */
function makeEarly(state: unknown = { step: 40, best: checkpoint(1).best }): void {
  if (existsSync(file('manifest.json'))) rmSync(file('manifest.json'));
  writeFileSync(file('state.json'), JSON.stringify(state));
}

it('reads the checkpoint of an early version, and says that it cannot be verified', async () => {
  makeEarly();
  expect(await readCheckpoint(run, IDENTITY)).toEqual({ ...checkpoint(1), verified: false });
});

it.each([
  ['null', /state\.json: this is not the state/],
  ['{"step": 2, "best": null}', /this is not the state/],
  ['{"step": -2, "best": {"value": 1, "step": 1, "evaluationsSince": 0}}', /this is not the state/],
  ['{"step": 2, "best": {"value": "1"}}', /this is not the state/],
  ['{"step": 2, "best": {"value": 1, "step": 3, "evaluationsSince": 0}}', /this is not the state/],
  [
    '{"step": 2, "best": {"value": 1, "step": 1, "evaluationsSince": 0}, "frozen": 3}',
    /this is not the state/,
  ],
])('names a damaged state of an early version: %s', async (state, message) => {
  makeEarly(JSON.parse(state));
  await expect(readCheckpoint(run)).rejects.toThrow(message);
});

it.each([
  ['null', /ledger\.json: expected a JSON object/],
  ['{"documentEncodes": "many"}', /ledger\.json: "documentEncodes" must be a number, found "many"/],
  ['{"documentEncodes": null}', /"documentEncodes" must be a number, found null/],
])('names a damaged ledger of an early version: %s', async (ledger, message) => {
  makeEarly();
  writeFileSync(file('ledger.json'), ledger);
  await expect(readCheckpoint(run)).rejects.toThrow(message);
});
