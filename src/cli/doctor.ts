import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ANY_DATA_OPTIONS, DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { DEVICE_HELP, reasonIn } from '../runtime/check-device.ts';
import { bundledDevices, DEVICES, type Device } from '../runtime/devices.ts';
import { builtScript } from '../util/built-script.ts';
import { UsageError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { type OptionSpec, optionValues } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { runDataAdvice } from './doctor-data.ts';
import { type GemmRate, measureGemmRate } from './gemm-rate.ts';
import { flagOf } from './options.ts';
import { runParity } from './parity.ts';

/**
 * Time limit for one device, in milliseconds. Loading a GPU driver and compiling its shaders takes seconds; a
 * longer time means a hang.
 */
const PROBE_MS = 30_000;
const MAX_ANSWER = 65_536;

/** Result of trying one device. */
interface DeviceReport {
  readonly device: Device;
  /** Whether the installed onnxruntime-node includes the libraries of the device. */
  readonly bundled: boolean;
  /** Whether the device computes correct results. */
  readonly works: boolean;
  /** Time of the trial, in seconds. */
  readonly seconds: number;
  /** Reason for a failure. */
  readonly reason?: string;
}

interface Missing {
  readonly what: string;
  readonly how: string;
}

/** The command `undrift doctor`: reports what works on this machine, how fast it is, and what is missing. */
export const doctorCommand = defineCommand({
  description:
    'Without --data and --parity: devices, speed and what is missing. With --data: a training method, why it suits the data, the ' +
    'command to type, and what in the data hurts, with a remedy each.',
  options: {
    data: {
      type: 'text',
      value: 'folder',
      help: 'recommend a training method for this data: a set that can be trained on, or documents alone',
    },
    model: {
      type: 'text',
      value: 'model',
      help: 'with --data: model that is to be trained, whose lengths and tokenizer are checked (default: static; transformer for documents alone)',
    },
    threads: { type: 'integer', min: 1, max: 1024, help: 'threads for the measurement (default: all cores)' },
    ...ANY_DATA_OPTIONS,
    parity: {
      type: 'text',
      value: 'model',
      help: 'only check whether onnxruntime and transformers.js compute the same vectors as Undrift with this model; exit code 1 if not',
    },
    texts: {
      type: 'text',
      value: 'file',
      help: 'texts for --parity: one per line, or any file that search reads (default: 200 built-in ones in many scripts)',
    },
  },
  examples: [
    '',
    '--json',
    '--data pairs.jsonl',
    '--data data/mine --model transformer',
    '--parity runs/first',
  ],
  async run(options, io) {
    checkTogether(options);
    if (options.data !== undefined) {
      const { data, model } = options;
      return await runDataAdvice(data, { model, ...optionValues(ANY_DATA_OPTIONS, options) }, io);
    }
    if (options.parity !== undefined) return await runParity(options.parity, options, io);
    const { threads = availableParallelism() } = options;
    const devices: DeviceReport[] = [];
    const bundled = bundledDevices();
    for (const device of DEVICES) {
      io.progress('try devices', devices.length, { total: DEVICES.length, unit: 'devices' });
      devices.push({ device, bundled: bundled.includes(device), ...(await probe(device, io.signal)) });
    }
    io.progress('try devices', devices.length, { total: DEVICES.length, unit: 'devices' });
    io.finishProgress();
    const cpuWorks = devices.some(({ device, works }) => device === 'cpu' && works);
    const gemm = cpuWorks ? await measureGemmRate({ threads }) : undefined;
    const facts = {
      ok: cpuWorks,
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      onnxruntime: installedVersion('onnxruntime-node'),
      typescript: installedVersion('typescript'),
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      threads,
      memory: { totalBytes: totalmem(), freeBytes: freemem() },
      devices,
      ...(gemm && { gemm: { ...gemm, gflops: Number(gemm.gflops.toFixed(1)) } }),
    };
    const missing = whatIsMissing(facts);
    return {
      json: { ...facts, missing },
      text: formatFacts(facts, gemm, missing),
      exitCode: cpuWorks ? 0 : 1,
    };
  },
});

/** Checks that options of one report are not given to another. @throws UsageError where they are */
function checkTogether(options: Readonly<Record<string, unknown>>): void {
  const { data, model, parity, texts } = options;
  if (data !== undefined && parity !== undefined)
    throw new UsageError('--data and --parity exclude each other', { help: 'run undrift doctor twice' });
  if (texts !== undefined && parity === undefined)
    throw new UsageError('--texts is for --parity', { help: 'name a model: --parity FOLDER' });
  if (data !== undefined) return;
  if (model !== undefined)
    throw new UsageError('--model is for --data', {
      help: 'name a data set: --data FOLDER; to compare a model with other programs: --parity MODEL',
    });
  for (const [key, spec] of Object.entries<OptionSpec>(ANY_DATA_OPTIONS)) {
    if (texts !== undefined && Object.hasOwn(DOCUMENT_OPTIONS, key)) continue;
    if ((options[key] ?? spec.default) !== spec.default)
      throw new UsageError(`${flagOf(key, spec)} is for --data`, { help: 'name a data set: --data FOLDER' });
  }
}

/** Tries a device in a separate process. */
function probe(device: Device, signal: AbortSignal): Promise<Omit<DeviceReport, 'device' | 'bundled'>> {
  const script = fileURLToPath(builtScript('cli/device-probe'));
  const startMs = performance.now();
  return new Promise((resolve) => {
    // Options of this process are not passed on: among them may be a script (-e), which would run again instead of the probe.
    const child = spawn(process.execPath, [script, device], {
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: PROBE_MS,
      killSignal: 'SIGKILL',
      signal,
    });
    let answer = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (answer.length < MAX_ANSWER) answer += text;
    });
    const finish = (reason?: string) => {
      const seconds = Number(((performance.now() - startMs) / 1000).toFixed(2));
      resolve(reason === undefined ? { works: true, seconds } : { works: false, seconds, reason });
    };
    child.on('error', (error) => finish(error.message));
    child.on('close', (code, killedBy) => {
      if (code === 0) finish();
      else if (killedBy === 'SIGKILL') finish(`no answer in ${PROBE_MS / 1000} s`);
      else if (killedBy) finish(`the driver ended the process (${killedBy})`);
      else finish(reasonIn(answer));
    });
  });
}

/**
 * Finds the version of an installed package, as this package resolves it; undefined if it is not installed.
 */
function installedVersion(name: string): string | undefined {
  try {
    // Some packages do not export their package.json, so it is searched for upwards from the main file.
    let folder = dirname(createRequire(import.meta.url).resolve(name));
    for (; dirname(folder) !== folder; folder = dirname(folder)) {
      const text = read(join(folder, 'package.json'));
      if (text === undefined) continue;
      const json = JSON.parse(text) as { name?: string; version?: string };
      if (json.name === name) return json.version;
    }
  } catch {
    // The package is not installed.
  }
  return undefined;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function whatIsMissing(facts: {
  devices: readonly DeviceReport[];
  typescript: string | undefined;
}): Missing[] {
  const missing: Missing[] = [];
  for (const { device, works, bundled } of facts.devices) {
    if (works) continue;
    missing.push({ what: `device ${device}`, how: howToGet(device, bundled) });
  }
  if (facts.typescript === undefined) {
    missing.push({
      what: 'typescript (only for undrift data api-docs)',
      how: 'npm install --save-dev typescript@5 @types/node',
    });
  }
  return missing;
}

const howToGet = (device: Device, bundled: boolean): string =>
  device === 'webgpu' && !bundled
    ? 'onnxruntime-node has no WebGPU libraries for this platform'
    : DEVICE_HELP[device];

interface Facts {
  node: string;
  platform: string;
  onnxruntime: string | undefined;
  processor: string;
  cores: number;
  threads: number;
  memory: { totalBytes: number; freeBytes: number };
  devices: readonly DeviceReport[];
}

function formatFacts(facts: Facts, gemm: GemmRate | undefined, missing: readonly Missing[]): string {
  const { memory } = facts;
  const rows: [string, string][] = [
    ['node', `${facts.node} on ${facts.platform}`],
    ['onnxruntime', facts.onnxruntime ?? 'not found'],
    ['processor', `${facts.processor}, ${facts.cores} cores`],
    ['memory', `${formatBytes(memory.totalBytes)}, ${formatBytes(memory.freeBytes)} free`],
    ...facts.devices.map(({ device, works, seconds, reason }): [string, string] => [
      device,
      works ? `works (${seconds} s to start)` : `does not work: ${reason}`,
    ]),
  ];
  if (gemm) {
    rows.push([
      'matrix product',
      `${gemm.gflops.toFixed(0)} GFLOP/s (f32, ${gemm.size}³, ${facts.threads} threads)`,
    ]);
  }
  const width = Math.max(...rows.map(([name]) => name.length));
  const table = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
  if (missing.length === 0) return table;
  return `${table}\nmissing:\n${missing.map(({ what, how }) => `  ${what}: ${how}\n`).join('')}`;
}
