"""Token windows of the language-model benchmarks: `windowIds` of bench/lm/cases.ts."""


def window_ids(window, tokens, vocabulary):
    return [4 + (window * tokens + t) * 7919 % (vocabulary - 4) for t in range(tokens)]
