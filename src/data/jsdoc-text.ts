/** Descriptions outside these bounds make no query: a word or two asks nothing, a page is no question. */
const MIN_CHARS = 20;
const MIN_WORDS = 4;
const MAX_CHARS = 400;
/** A first paragraph shorter than this is joined by the next. */
const SHORT_CHARS = 40;

/**
 * What a JSDoc comment says, as plain English: its first paragraph (the second too where the first is very short), without
 * markdown, code blocks and tags, links replaced by their text, cut at the end of a sentence after 400 characters.
 *
 * Undefined where nothing is left to ask with: empty, under four words, only a link, only "deprecated", "see …" or "alias".
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

/** Paragraphs that describe nothing. */
const BOILERPLATE =
  /^(mdn reference|deprecated\b|experimental\b|available only in secure contexts|stability: |see( also)? |alias (of|for) |inherit(s|ed)? from |n\/?a\b|todo\b|@)/i;

/** Markdown and JSDoc markup of one paragraph removed. */
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

/** The longest run of whole sentences within the limit; the words that fit, where the first sentence is longer. */
function cutAtSentence(text: string): string {
  if (text.length <= MAX_CHARS) return text;
  const head = text.slice(0, MAX_CHARS + 1);
  const sentences = /^[\s\S]*[.!?](?=\s)/.exec(head)?.[0];
  return (sentences ?? head.slice(0, head.lastIndexOf(' '))).trim();
}
