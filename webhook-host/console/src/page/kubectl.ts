// What `kubectl apply -f service.yaml` would print.

import type { Answer } from './messages';

/** The lines, and whether they are those of the real programs. */
export interface Printed {
  text: string;
  verbatim: boolean;
}

/** Returns the lines, standard output and standard error together. */
export function kubectl({ problems, applied }: Answer): Printed {
  const unread = problems.filter(({ input }) => input === 'objects').map(({ message }) => `error: service.yaml: ${message}`);
  return {
    text: [...unread, ...applied.map(({ printed }) => printed)].join('\n'),
    verbatim: unread.length === 0 && applied.every(({ verbatim }) => verbatim),
  };
}
