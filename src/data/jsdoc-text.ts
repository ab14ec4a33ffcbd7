/** Bounds of a description that can serve as a query: a word or two ask nothing, and a page is no question. */
const MIN_CHARS = 20;
const MIN_WORDS = 4;
const MAX_CHARS = 400;
/** Length below which the first paragraph is joined with the next. */
const SHORT_CHARS = 40;

/**
 * Extracts the description of a JSDoc comment as plain English.
 *
 * Takes the first paragraph, and the second too if the first is very short. Markdown, code blocks and tags
 * are removed, links are replaced by their text, and the result is cut at the end of a sentence after 400
 * characters.
 *
 * @returns undefined if the rest is no query: empty, under four words, only a link, only "deprecated", "see
 *   …" or "alias"
 */
export function cleanDescription(comment: string): string | undefined {
  const paragraphs = comment
    .replace(/\r\n?/g, '\n')
    .replace(/^```[\s\S]*?^```/gm, '\n\n') // fenced code
    .replace(/<!--[\s\S]*?-->/g, '')
    .split(/\n\s*\n/)
    .map(plainText)
    .filter((text) => text !== '' && !BOILERPLATE.test(text));
  let text = paragraphs[0] ?? '';
  if (text.length < SHORT_CHARS && paragraphs.length > 1) text = `${endSentence(text)} ${paragraphs[1]}`;
  text = cutAtSentence(text);
  const words = text.match(/\p{L}{2,}/gu)?.length ?? 0;
  return text.length < MIN_CHARS || words < MIN_WORDS ? undefined : text;
}

/** Matches paragraphs that describe nothing. */
const BOILERPLATE =
  /^(mdn reference|deprecated\b|experimental\b|available only in secure contexts|stability: |see( also)? |alias (of|for) |inherit(s|ed)? from |n\/?a\b|todo\b|@)/i;

/** Removes Markdown and JSDoc markup from a paragraph. */
function plainText(paragraph: string): string {
  return paragraph
    .replace(
      /\{@(?:link|linkcode|linkplain)\s+([^\s|}]+)\s*\|?\s*([^}]*)\}/g,
      (_, target: string, label: string) => (label.trim() === '' ? target : label.trim()),
    )
    .replace(/!?\[([^\]]*)\]\([^)\s]*(?:\s+"[^"]*")?\)/g, '$1')
    .replace(/!?\[([^\]]+)\]\[[^\]]*\]/g, '$1')
    .replace(/https?:\/\/\S+/g, '')
    .replace(/<\/?[a-z][^>]*>/gi, '')
    .replace(/[`*]+|(?<![\p{L}\p{N}])_+|_+(?![\p{L}\p{N}])/gu, '')
    .replace(/^#+\s*/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
}

function endSentence(text: string): string {
  return /[.!?:;]$/.test(text) ? text : `${text}.`;
}

/** Cuts a text to the whole sentences within the limit, or to whole words if the first sentence is longer. */
function cutAtSentence(text: string): string {
  if (text.length <= MAX_CHARS) return text;
  const head = text.slice(0, MAX_CHARS + 1);
  const sentences = /^[\s\S]*[.!?](?=\s)/.exec(head)?.[0];
  return (sentences ?? head.slice(0, head.lastIndexOf(' '))).trim();
}
