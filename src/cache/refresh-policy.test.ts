import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { describeRefresh, parseRefreshPolicy } from './refresh-policy.ts';

const still = { writeBack: false, stream: false };

describe('parseRefreshPolicy', () => {
  it.each([
    ['never', still],
    ['write-back', { ...still, writeBack: true }],
    ['stream', { ...still, stream: true }],
    ['write-back, stream', { writeBack: true, stream: true }],
    ['fraction:0.01', { ...still, fraction: { ratio: 0.01, order: 'oldest' } }],
    ['fraction:1:random', { ...still, fraction: { ratio: 1, order: 'random' } }],
    ['fraction:0', { ...still, fraction: { ratio: 0, order: 'oldest' } }],
    ['every:500', { ...still, every: 500 }],
    ['auto', { ...still, auto: { evidence: 'kl', threshold: 2, every: 50 } }],
    ['auto:kl:0.2', { ...still, auto: { evidence: 'kl', threshold: 0.2, every: 50 } }],
    [
      'write-back,auto:ess:0.3:10',
      { ...still, writeBack: true, auto: { evidence: 'ess', threshold: 0.3, every: 10 } },
    ],
    ['async:200', { ...still, async: { every: 200, wait: false } }],
    ['write-back,async:200:wait', { writeBack: true, stream: false, async: { every: 200, wait: true } }],
    [
      'write-back,stream,fraction:0.5,every:2',
      { writeBack: true, stream: true, fraction: { ratio: 0.5, order: 'oldest' }, every: 2 },
    ],
  ])('%s', (text, policy) => {
    expect(parseRefreshPolicy(text)).toEqual(policy);
    expect(describeRefresh(parseRefreshPolicy(text)).length).toBeGreaterThan(0);
  });

  it.each([
    ['', /there is no ""/],
    ['writeback', /there is no "writeback"/],
    ['never,stream', /"never" stands alone/],
    ['stream:1', /"stream:1" has too many values/],
    ['every', /"every" needs a whole number of steps/],
    ['every:', /needs a whole number of steps/],
    ['every:0', /needs a whole number of steps/],
    ['every:1.5', /needs a whole number of steps/],
    ['every:5:wait', /too many values/],
    ['async:5:later', /"async:5:later" ends in "later"/],
    ['fraction', /needs a share/],
    ['fraction:', /needs a share/],
    ['fraction:1.01', /needs a share/],
    ['fraction:0.5:newest', /ends in "newest"/],
    ['every:2,every:3', /"every" is given twice/],
    ['auto:tv', /goes by "tv"/],
    ['auto:ess', /needs a share of the draws/],
    ['auto:ess:1.5', /needs a share in/],
    ['auto:kl:0', /a number of nats above 0/],
    ['auto:kl:', /a number of nats above 0/],
    ['auto:kl:1:0', /needs a whole number of steps/],
    ['auto:kl:1:2:3', /too many values/],
    ['every:2,auto', /both refresh all rows/],
    ['every:2,async:3', /both refresh all rows/],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseRefreshPolicy(text)).toThrow(message);
    expect(() => parseRefreshPolicy(text)).toThrow(UsageError);
  });
});
