import { describe, expect, it } from 'vitest';
import { Bm25 } from './bm25.ts';
import { bm25Terms } from './index-terms.ts';

/** Row of the best document for each query; −1 where nothing is found. */
function firstRows(docs: string[], queries: string[]): number[] {
  const index = Bm25.build(docs.length, (row) => docs[row]!);
  return queries.map((query) => index.search(query, 1).rows[0] ?? -1);
}

describe('bm25Terms', () => {
  it('reads letters and digits of any script', () => {
    expect(bm25Terms("L'Été 2024: naïve Ελλάδα_x 東京, №5!")).toEqual([
      'l',
      'été',
      '2024',
      'naïve',
      'ελλάδα',
      'x',
      '東',
      '東京',
      '京',
      '5',
    ]);
    expect(bm25Terms('')).toEqual([]);
    expect(bm25Terms('\ud800 … “–” \u0301')).toEqual([]);
    expect(bm25Terms('a “quote” – x86-64, C++')).toEqual(['a', 'quote', 'x86', '64', 'c']);
  });

  it('gives runs of letters and digits in lower case for English, as ever', () => {
    const text = 'Don’t panic: the U.S. pays £2.50 for 3µg (±5 %) of β-carotene… “naïve”';
    const plain = text.toLowerCase().match(/[\p{L}\p{N}]+/gu)!;
    // The micro sign is the Greek letter mu.
    expect(bm25Terms(text)).toEqual(plain.map((word) => word.replace('\u00b5', '\u03bc')));
  });

  it.each([
    ['दान दिन दीन', ['दान', 'दिन', 'दीन']],
    ['తెలుగు বাংলা', ['తెలుగు', 'বাংলা']],
    ['שָׁלוֹם שלום', ['שלום', 'שלום']],
    ['شُكْرًا شكرا شـكرا', ['شكرا', 'شكرا', 'شكرا']],
    ['می\u200cخواهم میخواهم', ['میخواهم', 'میخواهم']],
    ['co\u00adoperate cooperate', ['cooperate', 'cooperate']],
    ['ｆｕｌｌ　ｗｉｄｔｈ １２', ['full', 'width', '12']],
    ['STRASSE straße Straße', ['strasse', 'strasse', 'strasse']],
    ['ﬁnd the oﬃce', ['find', 'the', 'office']],
    ['İstanbul istanbul ISTANBUL', ['istanbul', 'istanbul', 'istanbul']],
    ['ΟΔΟΣ οδος οδοσ', ['οδοσ', 'οδοσ', 'οδοσ']],
    ['ｶﾞｽ ガス', ['ガ', 'ガス', 'ス', 'ガ', 'ガス', 'ス']],
    ['Python入門 iPhone15', ['python', '入', '入門', '門', 'iphone15']],
    ['葛\u{e0100}', ['葛']],
    ['𠮷野家', ['𠮷', '𠮷野', '野', '野家', '家']],
    ['서울이다', ['서', '서울', '울', '울이', '이', '이다', '다']],
    ['ภาษาไทยเป็นภาษาที่สวยงาม', ['ภาษา', 'ไทย', 'เป็น', 'ภาษา', 'ที่', 'สวยงาม']],
  ])('splits %j', (text, terms) => {
    // NFKC writes some terms as other code points.
    const expected = terms.map((term) => term.normalize('NFKC'));
    expect(bm25Terms(text)).toEqual(expected);
    expect(bm25Terms(text.normalize('NFC'))).toEqual(expected);
    expect(bm25Terms(text.normalize('NFD'))).toEqual(expected);
  });

  it('reads every letter alike in plain words and in words that need folding', () => {
    // The soft hyphen is ignored, and a word that holds one is folded.
    for (let code = 0; code < 0x10000; code += 7) {
      const character = String.fromCodePoint(code);
      if (!/[\p{L}\p{N}]/u.test(character)) continue;
      for (const [plain, folded] of [
        [`b${character}`, `b\u00ad${character}`],
        [`${character}b c`, `${character}\u00adb c`],
      ] as const) {
        if (String(bm25Terms(plain)) !== String(bm25Terms(folded)))
          expect(bm25Terms(plain)).toEqual(bm25Terms(folded));
      }
    }
    expect(bm25Terms('x\ud83d\ude00y \ude00z \ud83dw')).toEqual(['x', 'y', 'z', 'w']);
  });

  it('lowers I by the language', () => {
    expect(bm25Terms('IŞIK İZMİR ışık', { language: 'tr' })).toEqual(['ışık', 'izmir', 'ışık']);
    expect(bm25Terms('IŞIK İZMİR'.normalize('NFD'), { language: 'az' })).toEqual(['ışık', 'izmir']);
    expect(bm25Terms('IŞIK İZMİR ışık')).toEqual(['işik', 'izmir', 'işik']);
  });

  it('stems English and leaves out stop words where asked to', () => {
    const text = 'The relational databases and their connections are running';
    expect(bm25Terms(text, { stem: true, stopWords: true })).toEqual(['relat', 'databas', 'connect', 'run']);
    expect(bm25Terms(text, { stopWords: true, language: 'en' })).toEqual([
      'relational',
      'databases',
      'connections',
      'running',
    ]);
    expect(bm25Terms('running naïvely ran2', { stem: true })).toEqual(['run', 'naïvely', 'ran2']);
    expect(() => bm25Terms('x', { stopWords: true, language: 'zh' })).toThrow(
      'stopWords knows English only, but language is zh',
    );
    expect(() => bm25Terms('x', { language: 'xx' as 'en' })).toThrow(/language should be/);
  });
});

describe('BM25 over scripts without spaces, marks and forms', () => {
  it.each([
    {
      script: 'Chinese',
      docs: ['我喜欢机器学习算法和深度学习', '今天天气很好我们去公园散步', '北京是中国的首都'],
      queries: ['机器学习', '公园', '中国的首都是哪里', '京'],
      rows: [0, 1, 2, 2],
    },
    {
      script: 'Japanese',
      docs: ['東京は日本の首都です', '猫は魚が好きです', '図書館は夜も開いています'],
      queries: ['日本の首都はどこですか', '猫が好きなもの', '図書館', '魚'],
      rows: [0, 1, 2, 1],
    },
    {
      script: 'Korean',
      docs: ['한국의 수도는 서울이다', '책을 읽는다', '고양이가 물을 마신다'],
      queries: ['서울', '책', '고양이는', '서울이다'.normalize('NFD')],
      rows: [0, 1, 2, 0],
    },
    {
      script: 'Thai',
      docs: ['ภาษาไทยเป็นภาษาที่สวยงาม', 'แมวกินปลา', 'วันนี้อากาศดีมาก'],
      queries: ['ภาษาไทย', 'ปลา', 'อากาศ'],
      rows: [0, 1, 2],
    },
    {
      script: 'Hindi',
      docs: ['दिन बड़ा है', 'दीन आदमी आया', 'दान देना अच्छा है', 'पानी साफ है'],
      queries: ['दान', 'दीन', 'पानी'],
      rows: [2, 1, 3],
    },
    {
      script: 'Latin in other forms',
      docs: [
        'the café at the corner serves crème brûlée',
        'the naïve résumé of a señor from Zürich',
        'İstanbul boğazında bir gün',
        'i i i the letter i repeated many times',
      ],
      queries: ['crème brûlée'.normalize('NFD'), 'résumé Zürich'.normalize('NFD'), 'istanbul'],
      rows: [0, 1, 2],
    },
  ])('finds the right document: $script', ({ docs, queries, rows }) => {
    expect(firstRows(docs, queries)).toEqual(rows);
  });
});
