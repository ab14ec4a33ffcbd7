import type { ComponentJson } from './tokenizer-json.ts';

/** Reads which special token ids the post-processor puts before and after a single text. */
export function wrapperIds(component: ComponentJson | null): { before: number[]; after: number[] } {
  switch (component?.type) {
    case 'Sequence':
      return (component.processors as ComponentJson[]).map(wrapperIds).reduce(
        (inner, outer) => ({
          before: [...outer.before, ...inner.before],
          after: [...inner.after, ...outer.after],
        }),
        { before: [], after: [] },
      );
    case 'BertProcessing':
    case 'RobertaProcessing':
      return {
        before: [(component.cls as [string, number])[1]],
        after: [(component.sep as [string, number])[1]],
      };
    case 'TemplateProcessing': {
      const special = component.special_tokens as Record<string, { ids: number[] }>;
      const single = component.single as { SpecialToken?: { id: string } }[];
      const text = single.findIndex((item) => item.SpecialToken === undefined);
      const ids = (items: typeof single) => items.flatMap((item) => special[item.SpecialToken!.id]!.ids);
      return { before: ids(single.slice(0, text)), after: ids(single.slice(text + 1)) };
    }
    default:
      return { before: [], after: [] };
  }
}
