import { cutWords, sentencesOf, wordCount } from './sentences.ts';

/** Passage of a document. */
export interface Passage {
  /** Headings that the passage stands under, the outermost first, joined by ` > `; empty where there are none. */
  readonly title: string;
  readonly text: string;
}

/** Sizes of passages. */
export interface PassageSizes {
  /** Largest number of words of a passage. */
  readonly words: number;
  /** Largest number of words of the last sentences of a passage that the next one repeats. */
  readonly overlap: number;
}

/** Part of a section that is kept whole where it fits: a sentence, a line of a list or table, or a block of code. */
interface Unit {
  readonly text: string;
  readonly words: number;
  /** Text between this unit and the one before. */
  readonly gap: string;
}

/** Section of a document: the text between two headings. */
interface Section {
  readonly title: string;
  readonly units: Unit[];
}

/** Matches the start or end of a block of code, with its fence. */
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** Matches a heading with its marks and its text, without closing marks. */
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$/;
/** Matches the line below a heading. */
const UNDERLINE = /^ {0,3}(=+|-{2,})[ \t]*$/;
/** Matches lines that are units of their own: items of lists, rows of tables, quotations. */
const OWN_LINE = /^\s*([-*+]|\d+[.)]|\||>)\s?/;

/**
 * Cuts a Markdown document into passages. A passage never crosses a heading. Front matter and comments are left out; its `title`
 * is the outermost heading, unless the first heading repeats it.
 */
export function markdownPassages(text: string, sizes: PassageSizes): Passage[] {
  const { body, title } = withoutFrontMatter(text);
  return markdownSections(body, title).flatMap((section) => packed(section, sizes));
}

/** Cuts plain text into passages: paragraphs and their sentences. */
export function textPassages(text: string, sizes: PassageSizes): Passage[] {
  const units = text.split(/\n[ \t]*\n/).flatMap((paragraph) => paragraphUnits(paragraph));
  return packed({ title: '', units }, sizes);
}

/**
 * Cuts a document of plain text into passages, in whole sentences where these fit. A passage has the id of its document, with `#` and its
 * number from 1 where the document has several.
 *
 * @param words  largest number of words of a passage
 */
export function passagesOfDocument(
  { id, text }: { readonly id: string; readonly text: string },
  words: number,
): { id: string; text: string }[] {
  const passages = textPassages(text, { words, overlap: 0 });
  return passages.map((passage, i) => ({
    id: passages.length === 1 ? id : `${id}#${i + 1}`,
    text: passage.text,
  }));
}

function withoutFrontMatter(text: string): { body: string; title: string } {
  const found = /^---[ \t]*\n([\s\S]*?)\n(?:---|\.\.\.)[ \t]*(?:\n|$)/.exec(text);
  if (!found) return { body: text, title: '' };
  const title = /^title:[ \t]*(.+?)[ \t]*$/m.exec(found[1]!)?.[1] ?? '';
  return { body: text.slice(found[0].length), title: title.replace(/^(["'])(.*)\1$/, '$2') };
}

function markdownSections(text: string, documentTitle: string): Section[] {
  const headings: { level: number; text: string }[] = [];
  const sections: Section[] = [];
  let paragraph: string[] = [];
  let section: Section = { title: documentTitle, units: [] };
  const endParagraph = () => {
    section.units.push(...paragraphUnits(paragraph.join('\n')));
    paragraph = [];
  };
  const begin = (level: number, heading: string) => {
    sections.push(section);
    while (headings.length > 0 && headings.at(-1)!.level >= level) headings.pop();
    headings.push({ level, text: heading });
    const path = headings.map((each) => each.text);
    if (documentTitle !== '' && path[0] !== documentTitle) path.unshift(documentTitle);
    section = { title: path.join(' > '), units: [] };
  };
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const [, fence] = FENCE.exec(line) ?? [];
    if (fence !== undefined) {
      endParagraph();
      const end = endOfCode(lines, i, fence);
      section.units.push(unit(lines.slice(i, end + 1).join('\n'), '\n\n'));
      i = end;
      continue;
    }
    if (line.trimStart().startsWith('<!--')) {
      endParagraph();
      while (i < lines.length && !lines[i]!.includes('-->')) i++;
      continue;
    }
    const [, marks, heading] = HEADING.exec(line) ?? [];
    const [, underline] = paragraph.length > 0 ? (UNDERLINE.exec(line) ?? []) : [];
    if (marks !== undefined) {
      endParagraph();
      begin(marks.length, plainHeading(heading!));
    } else if (underline !== undefined && !OWN_LINE.test(paragraph[0]!)) {
      const title = plainHeading(paragraph.join(' '));
      paragraph = [];
      begin(underline.startsWith('=') ? 1 : 2, title);
    } else if (line.trim() === '') endParagraph();
    else paragraph.push(line);
  }
  endParagraph();
  return [...sections, section].filter(({ units }) => units.length > 0);
}

/** Index of the line that closes a block of code; the last line where none does. */
function endOfCode(lines: readonly string[], start: number, fence: string): number {
  for (let i = start + 1; i < lines.length; i++) {
    const closing = lines[i]!.trim();
    if (closing.startsWith(fence) && [...closing].every((mark) => mark === fence[0])) return i;
  }
  return lines.length - 1;
}

/** Text of a heading without marks of emphasis, code and links. */
const plainHeading = (text: string): string =>
  text
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\s*\{#[^}]*\}\s*$/, '')
    .replace(/[*`]/g, '')
    .trim();

const unit = (text: string, gap: string): Unit => ({ text, words: wordCount(text), gap });

/** Units of a paragraph: its sentences, or its lines where these are items of a list, rows of a table or quotations. */
function paragraphUnits(paragraph: string): Unit[] {
  const lines = paragraph.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return [];
  const blocks: string[] = [];
  for (const line of lines) {
    // A line that is not marked goes on with the block before it.
    if (blocks.length === 0 || OWN_LINE.test(line)) blocks.push(line.trimEnd());
    else blocks[blocks.length - 1] += ` ${line.trim()}`;
  }
  return blocks.flatMap((block, i) => {
    const between = i === 0 ? '\n\n' : '\n';
    if (OWN_LINE.test(block)) return [unit(block, between)];
    return sentencesOf(block).map((sentence, j) => unit(sentence, j === 0 ? between : ' '));
  });
}

/** Packs the units of a section into passages. A unit that is longer than a passage is cut at its lines, and then at words. */
function packed({ title, units }: Section, { words, overlap }: PassageSizes): Passage[] {
  const passages: Passage[] = [];
  let current: Unit[] = [];
  /** Number of units of `current` that the passage before has too. */
  let repeated = 0;
  const close = () => {
    const text = current.map((each, i) => (i === 0 ? each.text : each.gap + each.text)).join('');
    passages.push({ title, text });
  };
  for (const each of units.flatMap((one) => smaller(one, words))) {
    if (current.length > 0 && total(current) + each.words > words) {
      if (current.length > repeated) {
        close();
        current = lastUnits(current, Math.min(overlap, words - each.words));
      } else current = [];
      repeated = current.length;
    }
    current.push(each);
  }
  if (current.length > repeated) close();
  return passages;
}

const total = (units: readonly Unit[]): number => units.reduce((sum, { words }) => sum + words, 0);

/** Last units of a passage that have at most this number of words together, and not all of them. */
function lastUnits(units: readonly Unit[], words: number): Unit[] {
  let [start, sum] = [units.length, 0];
  while (start > 1 && sum + units[start - 1]!.words <= words) {
    start -= 1;
    sum += units[start]!.words;
  }
  return units.slice(start);
}

function smaller(one: Unit, words: number): Unit[] {
  if (one.words <= words) return [one];
  const pieces: string[] = [];
  for (const line of one.text.split('\n')) {
    const last = pieces.at(-1);
    const joined = last === undefined ? line : `${last}\n${line}`;
    if (last !== undefined && wordCount(joined) <= words) pieces[pieces.length - 1] = joined;
    else pieces.push(line);
  }
  return pieces
    .filter((piece) => piece.trim() !== '')
    .flatMap((piece) => (wordCount(piece) <= words ? [piece] : cutWords(piece, words)))
    .map((piece, i) => unit(piece, i === 0 ? one.gap : '\n'));
}
