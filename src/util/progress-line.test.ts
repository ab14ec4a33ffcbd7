import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { UsageError } from './errors.ts';
import { ProgressLine, type ProgressLineOptions } from './progress-line.ts';

/** Progress line with a fake stream and a fake clock. */
function setup(options: Partial<ProgressLineOptions> & { isTTY: boolean; columns?: number }) {
  const clock = { ms: 0 };
  let written = '';
  const { isTTY, columns, ...rest } = options;
  const stream = {
    isTTY,
    columns: columns ?? 200,
    write: (text: string) => {
      written += text;
    },
  };
  const progress = new ProgressLine({ label: 'train', unit: 'steps', stream, now: () => clock.ms, ...rest });
  /** Returns the text written since the last call. */
  const take = () => {
    const text = written;
    written = '';
    return text;
  };
  return { progress, clock, take };
}

describe('ProgressLine on a terminal', () => {
  it('rewrites one line, no more often than it should', () => {
    const { progress, clock, take } = setup({ isTTY: true, total: 2000 });
    clock.ms = 1000;
    progress.update(100, { loss: 0.43123 });
    expect(take()).toBe(
      'train █░░░░░░░░░░░░░░░░░░░   5%  100/2,000 steps  100 steps/s  19.0s left  loss 0.4312',
    );
    clock.ms = 1050;
    progress.update(105, { loss: 0.4 });
    expect(take()).toBe('');
    clock.ms = 2000;
    progress.update(200);
    const line = take();
    expect(line.startsWith('\r\x1b[Ktrain ██░')).toBe(true);
    expect(line).toMatch(/ {2}10% {2}200\/2,000 steps .* loss 0\.4000$/);
    clock.ms = 20_000;
    progress.update(2000, { loss: 0.1 });
    progress.finish();
    expect(take()).toMatch(/100% {2}2,000\/2,000 steps {2}100 steps\/s {2}in 20\.0s {2}loss 0\.1000\n$/);
    progress.update(2001);
    progress.finish();
    expect(take()).toBe('');
  });

  it('keeps logged lines above the bar', () => {
    const { progress, clock, take } = setup({ isTTY: true, total: 10 });
    progress.update(1);
    take();
    progress.log('ndcg@10 0.5');
    expect(take()).toBe('\r\x1b[Kndcg@10 0.5\n');
    clock.ms = 1;
    progress.update(2);
    expect(take()).toMatch(/^train /);
  });

  it('gives up its bar first on a narrow terminal, then the last values, never half of one', () => {
    const line = (columns: number) => {
      const { progress, clock, take } = setup({ isTTY: true, total: 2000, columns });
      clock.ms = 1000;
      progress.update(1000, { loss: '0.43', staleness: '0.012', 'texts/s': '1.2k' });
      return take();
    };
    const start = ' 50%  1,000/2,000 steps  1.00k steps/s  1.0s left  loss 0.43';
    const end = 'staleness 0.012  texts/s 1.2k';
    expect(line(120)).toBe(`train ██████████░░░░░░░░░░ ${start}  ${end}`);
    expect(line(106)).toBe(`train ███░░░░ ${start}  ${end}`);
    expect(line(98)).toBe(`train ${start}  ${end}`);
    expect(line(90)).toBe(`train ${start}  staleness 0.012`);
    expect(line(70)).toBe(`train ${start}`);
  });

  it('never exceeds the width of the terminal', () => {
    const { progress, take } = setup({ isTTY: true, total: 10, columns: 30 });
    progress.update(5, { note: 'x'.repeat(100) });
    expect(take()).toBe('train  50%  5/10 steps');
    const long = setup({ isTTY: true, total: 10, columns: 30, label: 'x'.repeat(100) });
    long.progress.update(5);
    expect(long.take()).toBe('x'.repeat(29));
  });
});

describe('ProgressLine on a pipe', () => {
  it('writes a plain line every few seconds and at the end', () => {
    const { progress, clock, take } = setup({ isTTY: false, total: 100, lineMs: 5000 });
    for (let step = 0; step < 100; step++) {
      clock.ms = step * 100;
      progress.update(step, { loss: 1 / (step + 1), phase: 'warm-up' });
    }
    expect(take()).toBe('train  50%  50/100 steps  10 steps/s  5.0s left  loss 0.01961  phase warm-up\n');
    clock.ms = 10_000;
    progress.update(100);
    progress.finish();
    const lines = take().trimEnd().split('\n');
    expect(lines.at(-1)).toBe('train 100%  100/100 steps  10 steps/s  in 10.0s  loss 0.01000  phase warm-up');
  });

  it('works without a total', () => {
    const { progress, clock, take } = setup({ isTTY: false, lineMs: 1000 });
    clock.ms = 2000;
    progress.update(5000);
    expect(take()).toBe('train 5,000 steps  2.50k steps/s\n');
  });
});

describe('time left', () => {
  it('follows a change of speed and forgets the old one', () => {
    const { progress, clock, take } = setup({ isTTY: false, total: 100_000, lineMs: 0 });
    let done = 0;
    for (let second = 1; second <= 300; second++) {
      clock.ms = second * 1000;
      done += second <= 200 ? 100 : 20;
      progress.update(done);
    }
    // 22,000 steps took 300 s (73/s), but the latest speed of 20/s counts.
    expect(take().trimEnd().split('\n').at(-1)).toMatch(/ 20(\.\d)? steps\/s {2}1h 0[45]m left$/);
  });

  it('does not count what an earlier process did', () => {
    const { progress, clock, take } = setup({ isTTY: false, total: 1000, initial: 900, lineMs: 0 });
    clock.ms = 1000;
    progress.update(910);
    expect(take()).toBe('train  91%  910/1,000 steps  10 steps/s  9.0s left\n');
    progress.finish();
    expect(take()).toContain('10 steps/s  in 1.0s');
  });

  it('says nothing it does not know: no rate before any time has passed, none while nothing moves', () => {
    const { progress, clock, take } = setup({ isTTY: false, total: 10, lineMs: 0 });
    progress.update(0);
    clock.ms = 3000;
    progress.update(0);
    expect(take()).toBe('train   0%  0/10 steps\n'.repeat(2));
  });
});

describe('edges', () => {
  it('total 0 is done, more than the total is 100 %', () => {
    const empty = setup({ isTTY: false, total: 0 });
    empty.progress.finish();
    expect(empty.take()).toBe('train 100%  0/0 steps  in 0ms\n');
    const over = setup({ isTTY: true, total: 10 });
    over.progress.update(11);
    expect(over.take()).toContain('100%  11/10');
  });

  it('shows 100 % only when it is done', () => {
    const { progress, take } = setup({ isTTY: true, total: 100_000 });
    progress.update(99_999);
    expect(take()).toContain(' 99%  99,999/100,000');
  });

  it('is silent when disabled', () => {
    const { progress, take } = setup({ isTTY: true, total: 10, enabled: false });
    progress.update(5);
    progress.log('a line');
    progress.finish();
    expect(take()).toBe('');
  });

  it('refuses a total that is not a number', () => {
    expect(() => new ProgressLine({ label: 'x', total: Number.NaN })).toThrow(UsageError);
  });

  it('writes to stderr and never to stdout by default', () => {
    const url = JSON.stringify(new URL('./progress-line.ts', import.meta.url).href);
    const program = `
      const { ProgressLine } = await import(${url});
      const progress = new ProgressLine({ label: 'work', total: 2, lineMs: 0 });
      progress.update(1); progress.log('note'); progress.finish();`;
    const tsx = fileURLToPath(import.meta.resolve('tsx'));
    const result = spawnSync(process.execPath, ['--import', tsx, '--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(result.stdout).toBe('');
    expect(result.stderr).toContain('work  50%  1/2');
    expect(result.stderr).toContain('note\n');
  });
});
