import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

/** Every module that `url` loads, itself included: URLs of our files, names of packages. Types cost nothing at run time. */
function loadedBy(url: string, found = new Set<string>()): Set<string> {
  if (found.has(url)) return found;
  found.add(url);
  for (const [, name] of readFileSync(new URL(url), 'utf8').matchAll(
    /^(?:import|export)\s(?!type\s)[^;]*?from '([^']+)';/gm,
  )) {
    if (name!.startsWith('.')) loadedBy(new URL(name!, url).href, found);
    else found.add(name!);
  }
  return found;
}

it.each(['metrics', 'qrels-file', 'report', 'run-file', 'significance'])(
  '%s needs nothing but Node',
  (name) => {
    const loaded = [...loadedBy(new URL(`./${name}.ts`, import.meta.url).href)];
    expect(loaded.length).toBeGreaterThan(name === 'report' ? 0 : 2);
    expect(loaded.filter((module) => !/^(file|node):/.test(module))).toEqual([]);
  },
);
