import { describe, expect, it } from 'vitest';
import { SharedResource } from './shared-resource.ts';

const pause = (ms = 1) => new Promise((resolve) => setTimeout(resolve, ms));

describe('a shared resource', () => {
  it('is used by many at once, and freed after the last', async () => {
    const events: string[] = [];
    const shared = new SharedResource('r', async () => void events.push('freed'));
    let [running, most] = [0, 0];
    const users = Array.from({ length: 5 }, () =>
      shared.use(async () => {
        running += 1;
        most = Math.max(most, running);
        await pause(5);
        running -= 1;
        events.push('used');
      }),
    );
    await pause();
    const freed = [shared.free(), shared.free()];
    await Promise.all([...users, ...freed]);
    expect(most).toBe(5);
    expect(events).toEqual([...Array(5).fill('used'), 'freed']);
    await expect(shared.use(() => 1)).rejects.toThrow(/has been freed/);
    await expect(shared.change(() => 1)).rejects.toThrow(/has been freed/);
  });

  it('is changed by one alone, and users that come later see the change', async () => {
    const shared = new SharedResource({ value: 0, changing: false });
    const seen: number[] = [];
    const use = () =>
      shared.use(async (state) => {
        expect(state.changing).toBe(false);
        const before = state.value;
        await pause(2);
        expect(state).toEqual({ value: before, changing: false });
        seen.push(before);
      });
    const change = () =>
      shared.change(async (state) => {
        expect(state.changing).toBe(false);
        state.changing = true;
        await pause(1);
        state.value += 1;
        state.changing = false;
      });
    const first = [use(), use()];
    await pause();
    await Promise.all([...first, change(), use(), change(), use(), use()]);
    expect(seen.slice(0, 2)).toEqual([0, 0]);
    expect(seen.slice(2)).toEqual([2, 2, 2]);
  });

  it('goes on after a user and a change that fail', async () => {
    const shared = new SharedResource(1);
    const failing = () => Promise.reject(new Error('no'));
    await expect(shared.use(failing)).rejects.toThrow('no');
    await expect(shared.change(failing)).rejects.toThrow('no');
    expect(await shared.use((value) => value)).toBe(1);
    const { release } = await shared.acquire();
    release();
    release();
    await shared.free();
  });

  it('stays whole under random uses, changes and a late release', async () => {
    const state = { value: 0, users: 0 };
    const shared = new SharedResource(state);
    let seed = 7;
    const random = () => {
      seed = (seed * 48271) % 2147483647;
      return seed / 2147483647;
    };
    const work = Array.from({ length: 300 }, async () => {
      await pause(random() * 20);
      if (random() < 0.2) {
        await shared.change(async (of) => {
          expect(of.users).toBe(0);
          of.value += 1;
          if (random() < 0.5) await pause();
          expect(of.users).toBe(0);
        });
      } else {
        await shared.use(async (of) => {
          of.users += 1;
          const { value } = of;
          await pause(random() * 3);
          expect(of.value).toBe(value);
          of.users -= 1;
        });
      }
    });
    await Promise.all(work);
    expect(state.users).toBe(0);
    expect(state.value).toBeGreaterThan(20);
  });
});
