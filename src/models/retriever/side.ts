/** Side of a dual encoder. */
export type Side = 'query' | 'document';
