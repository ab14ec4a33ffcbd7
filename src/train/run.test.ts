import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { trainLanguageModel } from '../../test/language-subject.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { InterruptedError, type ReportedStep } from './callbacks.ts';
import { readEventLog } from './event-log.ts';
import type { RunResult } from './run.ts';

const runs = tempFiles();
const at = (name: string) => join(runs, name);
const script = fileURLToPath(new URL('../../test/language-subject.ts', import.meta.url));
const FILES = [
  'model.safetensors',
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];

/** The log without times. */
const events = async (name: string) =>
  (await readEventLog(join(at(name), 'metrics.jsonl'))).map(({ step, epoch, kind, values }) => ({
    step,
    epoch,
    kind,
    values: Object.fromEntries(Object.entries(values).filter(([key]) => !key.endsWith('Ms'))),
  }));

/** Runs the language model in a process, and kills it as soon as a checkpoint has this step. */
async function trainKilledAt(name: string, step: number): Promise<string | null> {
  const tsx = fileURLToPath(import.meta.resolve('tsx'));
  const child = spawn(process.execPath, ['--import', tsx, script, at(name)], { stdio: 'ignore' });
  const watch = setInterval(() => {
    const file = join(at(name), 'checkpoint', 'state.json');
    try {
      if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).step >= step) child.kill('SIGKILL');
    } catch {
      // The checkpoint is being replaced.
    }
  }, 1);
  const signal = await new Promise<string | null>((resolve) => child.on('close', (_, by) => resolve(by)));
  clearInterval(watch);
  return signal;
}

describe('a run of a language model', () => {
  let result: RunResult;
  const reports: ReportedStep[] = [];
  const evaluations: { step: number; metrics: Readonly<Record<string, number>>; best: boolean }[] = [];
  beforeAll(async () => {
    result = await trainLanguageModel(
      at('whole'),
      {},
      {
        onStep: (report) => reports.push(report),
        onEvaluation: (evaluation) => evaluations.push(evaluation),
      },
    );
  });

  it('learns, measures, and keeps the weights of least perplexity', async () => {
    expect(reports[0]!.trainingLoss).toBeGreaterThan(3);
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(0.75 * reports[0]!.trainingLoss);
    expect(evaluations.map(({ step }) => step)).toEqual([15, 30, 45, 60]);
    const perplexities = evaluations.map(({ metrics }) => metrics.perplexity!);
    expect(perplexities.at(-1)).toBeLessThan(0.8 * perplexities[0]!);
    const least = Math.min(...perplexities);
    expect(result.best).toEqual({ step: 15 * (1 + perplexities.indexOf(least)), value: least });
    const { metadata } = await readSafetensors(join(at('whole'), 'model.safetensors'));
    expect(metadata).toMatchObject({ step: String(result.best.step), perplexity: String(least) });
  });

  it('counts tokens and no texts: in the ledger, the log and the throughput', async () => {
    // Two batches of 4 windows of 16 tokens an update.
    expect(reports[7]!.spent).toEqual({ tokens: 128, trainingTokens: 128 });
    expect(reports[7]!.throughput.unit).toBe('tokens');
    expect(reports[7]!.throughput.perSecond).toBeGreaterThan(0);
    expect(result.ledger).toMatchObject({ tokens: 60 * 128, trainingTokens: 60 * 128 });
    const logged = await events('whole');
    expect(logged.filter(({ kind }) => kind === 'train').map(({ step }) => step)).toEqual([
      1, 10, 20, 30, 40, 50, 60,
    ]);
    expect(Object.keys(logged[0]!.values).join()).not.toMatch(/encode|quer|document|text/i);
    // 50 windows in batches of 4: 12 batches, 6 updates an epoch.
    expect(logged.at(-1)!.epoch).toBe(10);
  });

  it('ends with the same bytes after it was killed and resumed', async () => {
    expect(await trainKilledAt('killed', 20)).toBe('SIGKILL');
    const notes: string[] = [];
    await trainLanguageModel(at('killed'), { resume: true }, { onNote: (note) => notes.push(note) });
    expect(notes.join()).toMatch(/resumed at step [2-5]\d?/);
    for (const file of FILES) {
      const [whole, killed] = ['whole', 'killed'].map((name) => readFileSync(join(at(name), file)));
      expect(killed!.equals(whole!), file).toBe(true);
    }
    expect(await events('killed')).toEqual(await events('whole'));
  });

  it('saves and stops on a signal, and says how to resume', async () => {
    const stop = new AbortController();
    const onStep = ({ step }: ReportedStep) => step === 17 && stop.abort();
    const stopped = trainLanguageModel(at('stopped'), {}, { signal: stop.signal, onStep });
    await expect(stopped).rejects.toThrow(InterruptedError);
    await expect(stopped).rejects.toThrow(/after step 17 of 60; everything is saved\n.*--resume/);
    await trainLanguageModel(at('stopped'), { resume: true });
    for (const file of FILES) {
      const [whole, resumed] = ['whole', 'stopped'].map((name) => readFileSync(join(at(name), file)));
      expect(resumed!.equals(whole!), file).toBe(true);
    }
  });

  it('stops early when perplexity no longer falls', async () => {
    const { stoppedEarly, steps, best } = await trainLanguageModel(at('early'), {
      lr: 3,
      maxGradNorm: 0,
      evalEvery: 2,
      patience: 2,
    });
    expect(stoppedEarly).toBe(true);
    expect(steps).toBe(best.step + 4);
  });

  it('notes that there is nothing to diagnose', async () => {
    const notes: string[] = [];
    await trainLanguageModel(
      at('diagnosed'),
      { totalSteps: 2, diagnose: 1 },
      { onNote: (note) => notes.push(note) },
    );
    expect(notes).toContain('a language model keeps no embeddings');
  });
});
