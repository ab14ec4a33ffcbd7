/** Styles of the page of the server. */
export const PAGE_STYLE = `
:root{--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--focus:#0057b8;--on-focus:#fff;--mark:#fff0a8;--twin:#e4efff;
--up:#1a6b34;--down:#9a3412;--error:#a40e26;--empty:#e3e7ec;
--age0:#0057b8;--age1:#2f9e6e;--age2:#e0a100;--age3:#d9622b;--age4:#a8326e;--age5:#6b4fa0;--age6:#7a5c3e;--age7:#8a929c;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--panel:#1d2229;--ink:#e8ebef;--soft:#a4adb8;--rule:#3a424d;--focus:#7fb8ff;--on-focus:#0b1622;
--mark:#5c4a00;--twin:#1c3048;--up:#6fd08c;--down:#f0a070;--error:#ff8a94;--empty:#2b323b;
--age0:#5aa2f5;--age1:#4cc38a;--age2:#e8b931;--age3:#f0834c;--age4:#d9659f;--age5:#a48be0;--age6:#b8926a;--age7:#8a929c}}
*{box-sizing:border-box}
[hidden]{display:none!important}
.absent{visibility:hidden}
body{margin:0 auto;padding:1rem 1.25rem 3rem;max-width:84rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header{display:flex;flex-wrap:wrap;gap:0 1rem;align-items:baseline;margin-bottom:.75rem}
h1{font-size:1.3rem;margin:0}
h2{font-size:1rem;margin:0}
p,ol,ul,figure{margin:0;padding:0}
ol,ul{list-style:none}
.soft{color:var(--soft);font-size:.875rem}
.error{color:var(--error)}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
form{display:flex;flex-wrap:wrap;gap:.5rem}
#query{flex:1 1 12rem}
input,button,select{font:inherit;color:inherit;background:var(--page);border:1px solid var(--rule);border-radius:6px;padding:.4rem .7rem;min-height:2.5rem;min-width:0}
button{background:var(--focus);border-color:var(--focus);color:var(--on-focus);font-weight:600;cursor:pointer}
#ask{background:none;color:var(--focus)}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px}
.settings{flex:1 1 100%;min-width:0;display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:center}
.settings label,#token-row{min-width:0;display:flex;align-items:center;gap:.5rem;color:var(--soft);font-size:.875rem}
.settings select{width:15rem;max-width:100%}
.settings input{width:14rem;max-width:100%}
.settings select,.settings input,#age-by{font-size:.9rem;min-height:2.25rem;padding:.25rem .5rem;color:var(--ink)}
#token-row{flex:1 1 100%}
#message{min-height:1.5rem;margin:.6rem 0;color:var(--soft)}
#message.error{color:var(--error)}
#results{position:relative;min-height:12rem;display:grid;gap:1.25rem;grid-template-columns:minmax(0,1fr)}
#results[aria-busy=true]{opacity:.55}
#results.pair{grid-template-columns:repeat(2,minmax(0,1fr))}
.column-head{display:flex;flex-wrap:wrap;gap:0 .75rem;align-items:baseline;margin-bottom:.5rem}
ol{display:grid;gap:.5rem}
.hit,#answer{border:1px solid var(--rule);border-radius:8px;padding:.6rem .8rem;background:var(--panel);overflow-wrap:anywhere}
.hit.twin{background:var(--twin)}
.hit-head{display:flex;gap:.6rem;align-items:baseline}
.hit h3{font-size:1rem;margin:0;flex:1;min-width:0}
.rank{color:var(--soft);font-variant-numeric:tabular-nums;min-width:1.3rem;text-align:right}
.text{margin:.2rem 0 .3rem;white-space:pre-line}
.hit.whole .text{max-height:60vh;overflow:auto}
.facts{display:flex;align-items:center;min-height:1.75rem;flex-wrap:wrap;gap:0 1rem;color:var(--soft);font-size:.8rem;font-variant-numeric:tabular-nums}
.score{display:inline-flex;align-items:center;gap:.4rem}
.score-bar{display:inline-block;width:3.5rem;height:.4rem;border-radius:3px;background:var(--empty);overflow:hidden}
.score-bar span{display:block;height:100%;background:var(--focus)}
.change{font-size:.8rem;white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--soft)}
.change.up{color:var(--up)}.change.down{color:var(--down)}
.change.only{border:1px solid var(--rule);border-radius:999px;padding:0 .5rem}
.more,#answer-stop{min-height:1.75rem;padding:0 .6rem;font-size:.8rem;font-weight:400;background:none;color:var(--focus);border-color:var(--rule)}
.more{margin-left:auto}
mark{background:var(--mark);color:inherit;border-radius:2px;padding:0 .05em}
#answer{margin-bottom:1.25rem}
#answer-stop{margin:0}
#answer-text{white-space:pre-wrap;min-height:1.5rem}
.citation{margin:0 .1em;padding:.1em .4em;border-radius:4px;background:var(--focus);color:var(--on-focus);font-size:.75em;text-decoration:none;vertical-align:.15em}
#answer-passages{margin-top:.6rem;display:grid;gap:.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
#answer-passages li{border:1px solid var(--rule);border-radius:6px;padding:.4rem .6rem;font-size:.85rem;background:var(--page)}
#answer-passages p{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden}
#answer-passages b{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
#answer-passages .uncited{opacity:.6}
.keys{margin:1rem 0 0}
kbd{font:inherit;font-size:.75rem;border:1px solid var(--rule);border-radius:4px;padding:0 .35rem;margin:0 .15rem 0 .5rem}
kbd+kbd{margin-left:0}
#work,#corpus,#cluster{margin-top:1.75rem;padding-top:1rem;border-top:1px solid var(--rule)}
.bar{height:.5rem;margin:.35rem 0;border-radius:999px;overflow:hidden;background:var(--empty)}
.bar.large{height:.9rem}
.bar span{display:block;height:100%;background:var(--age0)}
#work .bar span{transition:width .4s}
.shares{display:flex}
.shares i{height:100%}
figure{margin-bottom:1.25rem}
#age-picture{min-height:6rem}
#age-picture svg{display:block;width:100%;height:auto}
#age-block{min-height:1.5rem}
#age-legend{display:flex;flex-wrap:wrap;gap:.15rem 1.25rem;min-height:1.5rem;font-size:.875rem}
.swatch{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.4rem}
.age-0{fill:var(--age0);background:var(--age0)}.age-1{fill:var(--age1);background:var(--age1)}.age-2{fill:var(--age2);background:var(--age2)}
.age-3{fill:var(--age3);background:var(--age3)}.age-4{fill:var(--age4);background:var(--age4)}.age-5{fill:var(--age5);background:var(--age5)}
.age-6{fill:var(--age6);background:var(--age6)}.age-7{fill:var(--age7);background:var(--age7)}
.age-missing{fill:var(--empty);background:var(--empty)}.age-none{fill:none;stroke:var(--rule);stroke-width:.5}
.age-time{fill:color-mix(in oklab,var(--age0) var(--fresh,100%),var(--age2))}
.age-newest{background:var(--age0)}.age-oldest{background:var(--age2)}
.block:hover rect{stroke:var(--ink);stroke-width:.8}
#cluster>h2,#given-up h2{margin-top:1.25rem}
.cards{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));margin-top:.5rem;min-height:4.5rem}
.model-name{display:flex;gap:.5rem;align-items:baseline;overflow-wrap:anywhere}
.tag{border:1px solid var(--rule);border-radius:999px;padding:0 .5rem;font-size:.75rem;color:var(--soft)}
.tag.warning{color:var(--error);border-color:currentColor}
.soft.error,.partial{color:var(--error)}
.partial{margin-bottom:.5rem;overflow-wrap:anywhere}
#letters{font-size:.875rem;overflow-wrap:anywhere}
@media (max-width:40rem){
body{padding:.75rem .9rem 2rem}
#query{flex:1 1 100%}
form>button{flex:1}
.settings label{flex:1 1 100%}
.settings select,.settings input{flex:1;width:auto}
.settings label:first-child,.settings label:nth-child(2){flex:1 1 40%}
#results.pair{grid-template-columns:none;grid-auto-flow:column;grid-auto-columns:88%;overflow-x:auto;scroll-snap-type:x mandatory;overscroll-behavior-x:contain;padding:2px}
.column{scroll-snap-align:start;min-width:0}
.keys{display:none}
#answer-passages p{-webkit-line-clamp:2}
}
@media (prefers-reduced-motion:reduce){#work .bar span{transition:none}}
`.trim();
