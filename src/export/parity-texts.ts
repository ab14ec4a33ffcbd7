import { randomInts, rngKey } from '../util/rng.ts';

/** Texts on which tokenizers and programs are known to differ. */
const HARD = [
  '',
  ' ',
  '\n\t \r\n',
  'x',
  'The quick brown fox jumps over the lazy dog.',
  'MiXeD CaSe, ALL CAPS and lower: İstanbul, STRASSE, straße, ΣΊΣΥΦΟΣ',
  'naïve café, São Paulo, Ångström, Łódź, coöperate',
  // Equal letters, once composed and once as letters with combining marks.
  'caf\u00e9 cafe\u0301 \u212b A\u030a \ufb01 ﬁne ½ ² №',
  '日本語のテキストと漢字、カタカナ。',
  '今天天气很好，我们去公园散步吧。',
  '한국어 문장입니다. 각 각',
  'ภาษาไทยไม่มีช่องว่างระหว่างคำ',
  'مرحبا بالعالم، كيف حالك؟',
  'שלום עולם, מה שלומך?',
  'नमस्ते दुनिया, यह एक वाक्य है।',
  'Привет, мир! Съешь ещё этих мягких французских булок.',
  'Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία',
  '😀😃 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 👍🏽 emoji',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 ⅷ Ⅷ ①',
  'zero\u200bwidth \u200d joiner\u00a0no-break \u2028 line \ufeff mark \u00ad soft',
  '\u0000null \u0007bell \u001b[0m and \ufffd',
  "don't can't it's we're y'all 'quoted' “quoted” «quoted» ‚quoted’",
  'a-b_c/d\\e|f~g`h^i@j#k$l%m&n*o(p)q=r+s[t]u{v}w;x:y,z.',
  '3.14159 1,000,000 -0 1e-9 0x1F 12:34:56 2024-02-29 +49 (0)30 1234',
  'https://example.org/a?b=c&d=%20#e  user@example.org',
  'const f = async (x: number): Promise<void> => { await g(x ?? 0); }; // → done',
  'SELECT * FROM "t" WHERE a <= 1 AND b <> \'x\';\n\tINDENTED\n',
  '[CLS] [SEP] [PAD] [MASK] [UNK] <s> </s> <pad> <mask> <unk> <|endoftext|>',
  '##ing ##s ▁word Ġword @@ ',
  'Donaudampfschifffahrtsgesellschaftskapitän pneumonoultramicroscopicsilicovolcanoconiosis',
  'a'.repeat(300),
  '漢'.repeat(80),
  '!'.repeat(120),
  '🙂'.repeat(60),
];

const WORDS = (
  'retrieval of documents by dense vectors returns the array each function value index search model query token learning ' +
  'small large river city water energy cell protein history music light number theory people year system naïve über ' +
  'déjà señor Москва наука 東京 検索 数据 模型 서울 데이터 سلام कंप्यूटर 42 3.5 2024 GPU node.js e-mail :-) — … “so” 🙂'
).split(' ');

const MARKS = ['', '', '', ',', '.', '?', '!', ';', ':'];

/** Words of the longest texts, which have more tokens than common encoders read. */
const LONGEST_WORDS = 1200;

/**
 * Makes texts for comparing programs: many scripts, marks, emoji, code, control characters, empty texts, and
 * sentences of 1 to 1,200 words. Equal counts give equal texts.
 */
export function parityTexts(count = 200): string[] {
  const texts = HARD.slice(0, count);
  for (let i = texts.length; i < count; i++) {
    const drawn = new Uint32Array(2 * LONGEST_WORDS + 1);
    randomInts(rngKey(0, i, 'parity-texts'), 2 ** 32, drawn);
    // Most texts are short; every eighth may be long.
    const words = 1 + (drawn[0]! % (i % 8 === 0 ? LONGEST_WORDS : 24));
    const text = Array.from({ length: words }, (_, w) => {
      const word = WORDS[drawn[2 * w + 1]! % WORDS.length]!;
      return word + MARKS[drawn[2 * w + 2]! % MARKS.length]!;
    });
    texts.push(text.join(' '));
  }
  return texts;
}
