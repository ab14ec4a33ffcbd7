import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CostLedger } from './cost-ledger.ts';

describe('the cost ledger', () => {
  it('sums document encodes over their purposes, diagnosis left out', () => {
    const ledger = new CostLedger();
    ledger.documents('positive', 16);
    ledger.documents('negative', 12);
    ledger.documents('refresh', 4096);
    ledger.documents('mining', 100);
    ledger.documents('positive', 16);
    ledger.queries(32);
    ledger.diagnosis(5000);
    ledger.scoring(2e6);
    ledger.cache(800);
    ledger.cache(600);
    expect(ledger.totals).toEqual({
      documentEncodes: 16 + 12 + 4096 + 100 + 16,
      positiveEncodes: 32,
      negativeEncodes: 12,
      refreshEncodes: 4096,
      miningEncodes: 100,
      queryEncodes: 32,
      diagnosisEncodes: 5000,
      scoringFlops: 2e6,
      cacheBytes: 800,
    });
  });

  it('takes purposes, units and phases of any name', async () => {
    const ledger = new CostLedger();
    ledger.tokens('training', 512);
    ledger.tokens('scoring', 100);
    ledger.documents('neighbour', 7);
    ledger.add('messages', 3);
    await ledger.time('gather', async () => {});
    const { gatherMs, ...counts } = ledger.totals;
    expect(gatherMs).toBeGreaterThanOrEqual(0);
    expect(counts).toEqual({
      tokens: 612,
      trainingTokens: 512,
      scoringTokens: 100,
      documentEncodes: 7,
      neighbourEncodes: 7,
      messages: 3,
    });
  });

  it('continues from restored totals', () => {
    const ledger = new CostLedger();
    ledger.documents('positive', 3);
    const other = new CostLedger();
    other.documents('mining', 1);
    other.restore(ledger.totals);
    other.documents('positive', 2);
    expect(other.totals).toEqual({ documentEncodes: 5, positiveEncodes: 5 });
  });

  it('counts no time in two phases, and none of a phase that fails is lost', async () => {
    const ledger = new CostLedger();
    const startMs = performance.now();
    await ledger.time('step', async () => {
      await sleep(20);
      await ledger.time('sample', async () => {
        await sleep(30);
        await ledger.time('refresh', () => sleep(40)).catch(() => {});
      });
      await expect(
        ledger.time('refresh', async () => {
          await sleep(10);
          throw new Error('on purpose');
        }),
      ).rejects.toThrow('on purpose');
    });
    const tookMs = performance.now() - startMs;
    const { stepMs, sampleMs, refreshMs } = ledger.totals as Record<string, number>;
    expect(stepMs! + sampleMs! + refreshMs!).toBeLessThanOrEqual(tookMs);
    expect(stepMs! + sampleMs! + refreshMs!).toBeGreaterThan(0.9 * tookMs);
    // Timers may be late, but never early by more than a millisecond.
    expect(stepMs).toBeGreaterThan(19);
    expect(sampleMs).toBeGreaterThan(29);
    expect(refreshMs).toBeGreaterThan(48);
  });
});
