/**
 * Copies results of questions and articles to bench/results/rlm/, with what the tables need of each: no texts.
 *
 *     npx tsx bench/rlm/take-in.ts FOLDER
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [from] = process.argv.slice(2);
if (!from) throw new Error('usage: npx tsx bench/rlm/take-in.ts FOLDER');
const to = fileURLToPath(new URL('../results/rlm', import.meta.url));
const KEPT = ['id', 'nats', 'tokens', 'exactMatch', 'f1', 'seen'];

const kept = (units: readonly Record<string, unknown>[] | undefined) =>
  units?.map((unit) =>
    Object.fromEntries(
      Object.entries(unit).flatMap(([name, value]) =>
        KEPT.includes(name) ? [[name, typeof value === 'number' ? Number(value.toFixed(6)) : value]] : [],
      ),
    ),
  );

mkdirSync(to, { recursive: true });
for (const file of readdirSync(from).filter((name) => name.endsWith('.json'))) {
  const {
    log: _,
    units,
    questions,
    documents,
    ...result
  } = JSON.parse(readFileSync(join(from, file), 'utf8'));
  // Paths of the machine say nothing to others.
  const settings = Object.fromEntries(
    Object.entries(result.settings ?? {}).map(([name, value]) => [
      name,
      typeof value === 'string' && isAbsolute(value) ? basename(value) : value,
    ]),
  );
  const lists = { units: kept(units), questions: kept(questions), documents: kept(documents) };
  writeFileSync(
    join(to, file),
    `${JSON.stringify({ ...result, ...(result.settings && { settings }), ...lists })}\n`,
  );
  console.log(file);
}
