import { robertaAs } from './roberta.ts';

/** XLM-RoBERTa (Conneau et al. 2020, arXiv:1911.02116): RoBERTa with a vocabulary of a hundred languages. */
export const xlmRoberta = robertaAs('xlm-roberta', 'XLMRobertaModel');
